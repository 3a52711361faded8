"""Measures training an encoder-decoder: real (not padding) target tokens per second, on equal batches for all peers.

Random ids with lengths like Multi30k's, a joint vocabulary of 8,000 for source, target and output, batches of 4,096
target positions with padding, dropout 0.1, cross-entropy of the real targets, fused AdamW. A repeat is three steps, on
batches of short, middle and long sentences. ``clearhead`` computes in bfloat16 where the processor has it, as its
default ``auto`` does at these sizes; ``+bfloat16`` is a peer under PyTorch's autocast.
"""

import math
import random
import zlib
from collections.abc import Callable
from types import SimpleNamespace

from driver import Case, Run, main

SIZES = {"tiny": {"d": 128, "h": 4, "ff": 256, "n": 4}, "small": {"d": 256, "h": 4, "ff": 1024, "n": 3}}
VOCAB, UNK, PAD, BOS, EOS = 8000, 0, 1, 2, 3
BATCH_TOKENS, STEPS, DROPOUT, MAX_LEN = 4096, 3, 0.1, 64
RATE, ADAM = 1e-4, {"betas": (0.9, 0.98), "eps": 1e-9, "weight_decay": 0.01}
# the settings that clearhead.training.device gives to glibc, as environment variables for peers that do not set them
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(64 * 2**20)}
LossOf = Callable[..., object]


def make_batches(*, bucketed: bool) -> list[list[tuple[list[int], list[int]]]]:
    """Draws three batches of (source, target), ids without begin and end marks; the same in every process."""
    draw = random.Random(7)
    lengths = []
    for _ in range(20_000):
        src = min(36, max(5, round(draw.lognormvariate(math.log(13), 0.33))))
        lengths.append((src, min(36, max(5, round(src * draw.lognormvariate(0, 0.12))))))
    if bucketed:
        lengths.sort(key=lambda pair: (max(pair), pair))
    batches, rows, width = [], [], 0
    for pair in lengths:
        width = max(width, *pair)
        if (width + 1) * (len(rows) + 1) > BATCH_TOKENS:
            batches.append(rows)
            rows, width = [], max(pair)
        rows.append(pair)
    chosen = [batches[(2 * step + 1) * len(batches) // (2 * STEPS)] for step in range(STEPS)]
    return [[tuple(draw.choices(range(4, VOCAB), k=n) for n in pair) for pair in rows] for rows in chosen]


def padded(rows: list[tuple[list[int], list[int]]]):
    """Returns source, decoder input and targets of a batch as padded tensors."""
    import torch

    sides = [[*src, EOS] for src, _ in rows], [[BOS, *tgt] for _, tgt in rows], [[*tgt, EOS] for _, tgt in rows]
    widths = (max(map(len, side)) for side in sides)
    return [torch.tensor([row + [PAD] * (w - len(row)) for row in side]) for side, w in zip(sides, widths, strict=True)]


def gflop_per_target(batches, size: dict) -> float:
    """Counts the matrix products of real tokens, forward and backward, without attention (less than a tenth)."""
    d, ff, n = size["d"], size["ff"], size["n"]
    targets = sum(len(tgt) + 1 for rows in batches for _, tgt in rows)
    sources = sum(len(src) + 1 for rows in batches for src, _ in rows)
    per_source = n * (4 * d * d + 2 * d * ff) + n * 2 * d * d  # encoder, and the decoder's projections of the memory
    per_target = n * (6 * d * d + 2 * d * ff) + d * VOCAB
    return 6 * (sources * per_source + targets * per_target) / targets / 1e9


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (three steps) of a case."""
    import torch

    torch.manual_seed(0)
    size = SIZES[spec["size"]]
    batches = make_batches(bucketed=spec.get("bucketed", True))
    data = [padded(rows) for rows in batches]
    targets = sum(int((batch[2] != PAD).sum()) for batch in data)
    if spec["peer"] == "clearhead":
        net, loss_of, step = clearhead(size, recipe=spec.get("recipe", False), precision=spec.get("precision"))
    else:
        peers = {"hf-marian": hf_marian, "joeynmt": joeynmt, "nn.Transformer": tutorial}
        net, loss_of = peers[spec["peer"]](size)
        step = plain_step(net, loss_of if "precision" not in spec else in_bfloat16(loss_of))
    net.eval()
    with torch.no_grad():
        first = float(loss_of(*data[0]))
    net.train()

    def run() -> float:
        for batch in data:
            step(*batch)
        return targets

    parameters = sum(weight.numel() for weight in net.parameters() if weight.requires_grad)
    facts = {"parameters": f"{parameters:,}", "first_loss": f"{first:.2f}"}
    facts |= {"gflop": gflop_per_target(batches, size), "real": f"{targets / STEPS:,.0f}"}
    return run, facts | {"batches": f"{zlib.crc32(repr(batches).encode()):08x}"}


def plain_step(net, loss_of: LossOf):
    """Runs a standard training loop."""
    import torch

    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, **ADAM, fused=True)

    def step(src, tgt, targets) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of(src, tgt, targets).backward()
        optimizer.step()

    return step


def in_bfloat16(loss_of: LossOf) -> LossOf:
    """Returns a peer's loss under autocast."""
    import torch

    return torch.autocast("cpu", torch.bfloat16)(loss_of)


def numbers(name: str | None):
    """Returns the precision of our step: the one that is named, or bfloat16 where this processor has it."""
    import torch

    from clearhead.training.precision import Precision, has_bfloat16

    return Precision(name or ("bfloat16" if has_bfloat16(torch.device("cpu")) else "float32"))


def clearhead(size: dict, *, recipe: bool, precision: str | None = None):
    """Sets up our model and step as ``clearhead train`` runs them.

    ``recipe`` adds what its presets do and the peers do not: label smoothing, clipping, the average of the weights.
    """
    from clearhead.data.translation import Batch
    from clearhead.loss import LossConfig
    from clearhead.models.transformer import Transformer, TransformerConfig
    from clearhead.optim.build import OptimConfig, build_ema, build_optimizers
    from clearhead.tasks.translation.recipe import translation_loss
    from clearhead.training.device import keep_freed_memory
    from clearhead.training.step import train_step

    keep_freed_memory()
    config = TransformerConfig(
        d_model=size["d"],
        d_ff=size["ff"],
        n_heads=size["h"],
        n_encoder_layers=size["n"],
        n_decoder_layers=size["n"],
        max_seq_len=MAX_LEN,
        dropout=DROPOUT,
    )
    net = Transformer(config, src_vocab_size=VOCAB, vocab_size=VOCAB, pad_id=PAD)
    optimizers = build_optimizers(net, OptimConfig(**ADAM), RATE)
    ema, kind = build_ema(net, 0.997) if recipe else None, numbers(precision)
    smoothing, clip = LossConfig(label_smoothing=0.1 if recipe else 0.0), 1.0 if recipe else 0.0

    def as_batch(src, tgt, targets) -> Batch:
        real = src != PAD
        mask = None if real.all() else real
        return Batch(src, mask, tgt, targets, int((targets != PAD).sum()), indices=src[:, 0])

    def loss_of(*tensors):
        total, count = translation_loss(net, as_batch(*tensors), smoothing)
        return total / count

    def step(*tensors) -> None:
        batch = as_batch(*tensors)
        options = {"grad_clip_norm": clip, "precision": kind}
        train_step(net, [batch], lambda one: translation_loss(net, one, smoothing), optimizers, **options)
        if ema is not None:
            ema.update_parameters(net)

    return net, loss_of, step


def marian(size: dict, **marks):
    """Builds Hugging Face's Marian of this size, with relu and scaled embeddings like the published models."""
    from transformers import MarianConfig, MarianMTModel

    sizes = {"layers": size["n"], "attention_heads": size["h"], "ffn_dim": size["ff"]}
    stacks = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in sizes.items()}
    rest = {"activation_function": "relu", "scale_embedding": True, "forced_eos_token_id": None, "dropout": DROPOUT}
    return MarianMTModel(MarianConfig(d_model=size["d"], max_position_embeddings=MAX_LEN, **stacks, **rest, **marks))


def hf_marian(size: dict):
    """Sets up Hugging Face's Marian with its own loss."""
    marks = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS}
    net = marian(size, vocab_size=VOCAB, **marks)

    def loss_of(src, tgt, targets):
        labels = targets.masked_fill(targets == PAD, -100)
        return net(src, attention_mask=(src != PAD).long(), decoder_input_ids=tgt, labels=labels).loss

    return net, loss_of


def joeynmt(size: dict):
    """Sets up JoeyNMT's model class as its Transformer configurations do."""
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary

    d, n = size["d"], size["n"]
    marks = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "sep_token": None}
    ids = {"unk_id": UNK, "pad_id": PAD, "bos_id": BOS, "eos_id": EOS, "sep_id": None, "lang_tags": []}
    vocabulary = Vocabulary([f"t{number}" for number in range(VOCAB - 4)], SimpleNamespace(**marks, **ids))
    stack = {"type": "transformer", "num_layers": n, "num_heads": size["h"], "hidden_size": d}
    stack |= {"ff_size": size["ff"], "dropout": DROPOUT}
    stack["embeddings"] = {"embedding_dim": d, "scale": True, "dropout": 0.0}
    tied = {"tied_embeddings": True, "tied_softmax": True}
    start = {"initializer": "xavier_uniform", "embed_initializer": "xavier_uniform"}
    net = build_model({"encoder": {**stack}, "decoder": {**stack}, **tied, **start}, vocabulary, vocabulary)
    net.loss_function = ("crossentropy", 0.0)

    def loss_of(src, tgt, targets):
        real, lengths = targets != PAD, (src != PAD).sum(1)
        masks = {"src_mask": (src != PAD).unsqueeze(1), "trg_mask": real.unsqueeze(1), "src_length": lengths}
        total = net(return_type="loss", src=src, trg_input=tgt, trg=targets, **masks)[0]
        return total / real.sum()

    return net, loss_of


def tutorial(size: dict):
    """Sets up torch.nn.Transformer with a scaled embedding, sinusoidal positions and a tied output layer."""
    import torch
    from torch import nn
    from torch.nn import functional

    d = size["d"]
    rates = torch.exp(torch.arange(0, d, 2) * (-math.log(10000.0) / d))
    angles = torch.arange(MAX_LEN)[:, None] * rates
    positions = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
    body = nn.Transformer(d, size["h"], size["n"], size["n"], size["ff"], DROPOUT, batch_first=True)
    net = nn.ModuleDict({"body": body, "table": nn.Embedding(VOCAB, d, padding_idx=PAD), "drop": nn.Dropout(DROPOUT)})
    nn.init.normal_(net["table"].weight, std=d**-0.5)

    def embed(ids):
        return net["drop"](net["table"](ids) * math.sqrt(d) + positions[: ids.shape[1]])

    def loss_of(src, tgt, targets):
        order = nn.Transformer.generate_square_subsequent_mask(tgt.shape[1]).isinf()
        pads = {"src_key_padding_mask": src == PAD, "memory_key_padding_mask": src == PAD}
        states = body(embed(src), embed(tgt), tgt_mask=order, tgt_key_padding_mask=tgt == PAD, **pads)
        logits = functional.linear(states, net["table"].weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD)

    return net, loss_of


def cases_of(size: str) -> list[Case]:
    """Returns the cases: peers out of the box, then three for information."""

    def case(name: str, peer: str, *, environ: dict | None = None, repeats: int = 1000, **spec) -> Case:
        python = "joey" if peer == "joeynmt" else "main"
        return Case(size, name, {"size": size, "peer": peer, **spec}, python, environ or {}, repeats)

    return [
        case("clearhead", "clearhead"),
        case("clearhead float32", "clearhead", precision="float32"),
        *(case(peer, peer) for peer in ("hf-marian", "joeynmt", "nn.Transformer")),
        case("hf-marian+bfloat16", "hf-marian", precision="bfloat16"),
        case("hf-marian+random-batches", "hf-marian", bucketed=False),
        case("hf-marian+malloc", "hf-marian", environ=MALLOC, repeats=3),
        case("clearhead+recipe", "clearhead", recipe=True, repeats=3),
    ]


if __name__ == "__main__":
    main(
        __file__,
        build,
        [case for size in SIZES for case in cases_of(size)],
        groups="sizes",
        unit="real target tokens/s",
        columns={"parameters": "parameters", "first loss": "first_loss", "real a step": "real", "batches": "batches"},
    )
