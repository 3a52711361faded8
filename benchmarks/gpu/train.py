"""Tokens/s and MFU of a preset's training step against its peers', on the same batches: train.py FAMILY ...

Ours is built from the preset as ``clearhead train`` builds it, with ``train.precision = "bfloat16"``, ``train.compile``
and ``loss.chunk_size = 4096``. Batches are random pieces of the preset's size, already on the card; a step is some of
them accumulated, clipping and one update of AdamW. The translator's label smoothing is off, as it is in its peer, and
the averages of weights are left out. Peers run under autocast to bfloat16 with float32 weights, like ours. Products in
float32, of which no case has any that counts, are not rounded to TF32.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import peers
import torch
from card import decoder_flops, encoder_flops, translation_flops
from rounds import Asked, Built, asked, run
from torch import Tensor, nn

MACHINE = ["train.precision=bfloat16", "loss.chunk_size=4096"]
SMALL = {"d_model": 32, "d_ff": 64, "n_heads": 2, "max_seq_len": 32, "n_layers": 2}
ACCUMULATED, HIDDEN_SHARE = 4, 0.15


def recipe_of(preset: str, parse: Callable[..., Any], given: Asked, more: Sequence[str] = ()) -> Any:
    """Returns a preset's recipe, of tiny sizes where that is asked for."""
    from clearhead.runs.recipes import read_recipe

    sets = [*MACHINE, f"train.compile={str(given.compile).lower()}", *more]
    if given.tiny:
        sizes = dict(SMALL)
        if preset == "translate-base":
            del sizes["n_layers"]
            sizes |= {"n_encoder_layers": 2, "n_decoder_layers": 2}
        sets += [f"model.{name}={value}" for name, value in sizes.items()]
        sets += (
            ["train.batch_tokens=128", "data.max_len=30"] if preset == "translate-base" else ["train.batch_tokens=128"]
        )
    return parse(read_recipe(preset, sets), preset)


def our_step(
    net: nn.Module, recipe: Any, batches: list[Any], loss_of: Callable[..., Any], device: torch.device
) -> Callable[[], object]:
    """Returns the step of ``clearhead train`` on a model with random weights."""
    from clearhead.optim.build import build_optimizers
    from clearhead.training.arrangement import arrange
    from clearhead.training.distributed import Engine
    from clearhead.training.precision import Precision
    from clearhead.training.step import train_step

    net = net.to(device).train()
    inside = arrange(net, recipe.train)
    optimizers = build_optimizers(net, recipe.optim, recipe.train.lr)
    return partial(
        train_step,
        net,
        batches,
        lambda batch: loss_of(net, batch, recipe.loss),
        optimizers,
        grad_clip_norm=recipe.optim.grad_clip_norm,
        precision=Precision(recipe.train.precision, device.type),
        engine=Engine(inside),
    )


def peer(
    net: nn.Module, losses_of: Callable[[nn.Module], list[peers.Loss]], recipe: Any, device: torch.device
) -> Callable[[], object]:
    """Returns the step of a peer, with the preset's optimizer."""
    optim = recipe.optim
    net = net.to(device).train()
    rates = {"lr": recipe.train.lr, "betas": optim.betas, "eps": optim.eps, "weight_decay": optim.weight_decay}
    return peers.plain_step(net, losses_of(net), peers.adamw(net, **rates))


def language_model(given: Asked) -> dict[str, Callable[[], Built]]:
    """Returns the cases of ``gpt-124m``."""
    from clearhead.data.stream import StreamBatch
    from clearhead.runs.text_parts import ModelSizes
    from clearhead.tasks.language_model.recipe import build_language_model, language_model_loss, parse_language_model

    recipe = recipe_of("gpt-124m", parse_language_model, given)
    model, vocab = recipe.model, 200 if given.tiny else recipe.tokenizer.vocab_size
    rows = recipe.train.batch_tokens // model.max_seq_len
    text = torch.randint(4, vocab, (ACCUMULATED, rows, model.max_seq_len + 1), device=given.device)
    ids, targets = text[:, :, :-1].contiguous(), text[:, :, 1:].contiguous()
    tokens = float(ids.numel())
    flops = tokens * decoder_flops(model.n_layers, model.d_model, model.d_ff, vocab, model.max_seq_len)
    sizes = {"n": model.n_layers, "d": model.d_model, "heads": model.n_heads, "length": model.max_seq_len}
    facts = {"batch": f"{ACCUMULATED} x {rows} x {model.max_seq_len}"}

    def ours() -> Built:
        net = build_language_model(recipe, ModelSizes(vocab_size=vocab))
        batches = [StreamBatch(*pair, pair[0].numel()) for pair in zip(ids, targets, strict=True)]
        return Built(our_step(net, recipe, batches, language_model_loss, given.device), tokens, flops, facts)

    def nanogpt() -> Built:
        def losses_of(net: nn.Module) -> list[peers.Loss]:
            forward = torch.compile(net) if given.compile else net
            return [partial(forward, *pair) for pair in zip(ids, targets, strict=True)]

        net = peers.NanoGPT(vocab=-(-vocab // 64) * 64, **sizes)  # its vocabulary is padded to a multiple of 64
        return Built(peer(net, losses_of, recipe, given.device), tokens, flops, facts)

    def hugging_face(compiled: bool) -> Built:
        net = peers.gpt2(vocab=vocab, **sizes)
        if compiled:
            peers.compile_layers([net.transformer.h])
        # the model shifts labels itself
        labels = torch.cat([ids[:, :, :1], targets[:, :, :-1]], dim=2)
        losses = [
            lambda one=one, label=label: net(input_ids=one, labels=label, use_cache=False).loss
            for one, label in zip(ids, labels, strict=True)
        ]
        return Built(peer(net, lambda net: losses, recipe, given.device), tokens, flops, facts)

    return cases_of(ours, hugging_face, given, {"nanogpt, compiled": nanogpt})


def masked(given: Asked) -> dict[str, Callable[[], Built]]:
    """Returns the cases of ``bert-base``: rows without padding, masked and next-sentence prediction."""
    from clearhead.data.masked import MaskedBatch
    from clearhead.runs.text_parts import ModelSizes
    from clearhead.tasks.masked.recipe import build_masked, masked_loss, parse_masked

    recipe = recipe_of("bert-base", parse_masked, given)
    model, vocab, device = recipe.model, 200 if given.tiny else recipe.tokenizer.vocab_size, given.device
    length = model.max_seq_len
    rows = recipe.train.batch_tokens // length
    ids = torch.randint(7, vocab, (ACCUMULATED, rows, length), device=device)
    hidden = torch.rand(ids.shape, device=device) < HIDDEN_SHARE
    segments = (torch.arange(length, device=device) >= length // 2).long().expand(rows, length).contiguous()
    follows, shown = torch.arange(rows, device=device) % 2, ids.masked_fill(hidden, 6)
    real, tokens = torch.ones(rows, length, dtype=torch.bool, device=device), float(ids.numel())
    sizes = {"n": model.n_layers, "d": model.d_model, "ff": model.d_ff, "vocab": vocab, "length": length}
    flops = tokens * encoder_flops(**sizes, share=float(hidden.float().mean()))
    facts = {"batch": f"{ACCUMULATED} x {rows} x {length}"}

    def ours() -> Built:
        batches = []
        for one, at, all_ids in zip(shown, hidden, ids, strict=True):
            places = at.flatten().nonzero()[:, 0]
            targets = all_ids.flatten()[places]
            batches.append(MaskedBatch(one, segments, real, places, targets, follows, len(places)))
        net = build_masked(recipe, ModelSizes(vocab_size=vocab, pad_id=0))
        return Built(our_step(net, recipe, batches, masked_loss, device), tokens, flops, facts)

    def hugging_face(compiled: bool) -> Built:
        net = peers.bert(heads=model.n_heads, dropout=model.dropout, **sizes)
        if compiled:
            peers.compile_layers([net.bert.encoder.layer])
        rest = {"attention_mask": real.long(), "token_type_ids": segments, "next_sentence_label": 1 - follows}
        losses = [
            lambda one=one, label=label: net(input_ids=one, labels=label, **rest).loss
            for one, label in zip(shown, ids.masked_fill(~hidden, -100), strict=True)
        ]
        return Built(peer(net, lambda net: losses, recipe, device), tokens, flops, facts)

    return cases_of(ours, hugging_face, given, {})


def translation(given: Asked) -> dict[str, Callable[[], Built]]:
    """Returns the cases of ``translate-base``: lengths as of news, batches of similar ones, of six different shapes."""
    from clearhead.data.translation import collate
    from clearhead.runs.text_parts import ModelSizes
    from clearhead.tasks.translation.recipe import build_translator, parse_translation, translation_loss

    recipe = recipe_of("translate-base", parse_translation, given, ["src=en", "tgt=de", "loss.label_smoothing=0"])
    model, vocab = recipe.model, 200 if given.tiny else recipe.tokenizer.vocab_size
    pairs = pairs_in_batches(recipe.train.batch_tokens, model.max_seq_len - 2, vocab, number=2 if given.tiny else 6)
    batches = [collate(*zip(*rows, strict=True)).to(given.device) for rows in pairs]
    lengths = [(len(src) + 1, len(tgt) + 1) for rows in pairs for src, tgt in rows]
    tokens = float(sum(tgt for _, tgt in lengths))
    sizes = {"n": model.n_encoder_layers, "d": model.d_model, "ff": model.d_ff, "vocab": vocab}
    flops, facts = translation_flops(sizes=lengths, **sizes), {"batch": f"{len(pairs)} of {tokens / len(pairs):.0f}"}

    def ours() -> Built:
        net = build_translator(recipe, ModelSizes(vocab_size=vocab, src_vocab_size=vocab, pad_id=0))
        return Built(our_step(net, recipe, batches, translation_loss, given.device), tokens, flops, facts)

    def hugging_face(compiled: bool) -> Built:
        net = peers.marian(heads=model.n_heads, length=model.max_seq_len, dropout=model.dropout, **sizes)
        if compiled:
            peers.compile_layers([net.model.encoder.layers, net.model.decoder.layers])

        def loss_of(batch: Any) -> Tensor:
            mask = (batch.src_ids != 0).long()
            labels = batch.targets.masked_fill(batch.targets == 0, -100)
            return net(batch.src_ids, attention_mask=mask, decoder_input_ids=batch.tgt_ids, labels=labels).loss

        losses = [partial(loss_of, batch) for batch in batches]
        return Built(peer(net, lambda net: losses, recipe, given.device), tokens, flops, facts)

    return cases_of(ours, hugging_face, given, {})


def pairs_in_batches(tokens: int, most: int, vocab: int, *, number: int) -> list[list[tuple[list[int], list[int]]]]:
    """Draws pairs whose lengths spread like those of news, and returns ``number`` batches from short to long ones."""
    draw = random.Random(7)
    lengths = []
    for _ in range(40 * number * max(1, tokens // 500)):
        src = min(most, max(3, round(draw.lognormvariate(3.2, 0.55))))
        lengths.append((src, min(most, max(3, round(src * draw.lognormvariate(0.05, 0.15))))))
    lengths.sort(key=max)
    batches = []
    for place in range(number):
        start = (2 * place + 1) * len(lengths) // (2 * number)
        rows = tokens // (max(lengths[start]) + 2)
        chosen = lengths[max(0, start - rows) : start] or lengths[start : start + 1]
        batches.append([tuple(draw.choices(range(7, vocab), k=size) for size in pair) for pair in chosen])
    return batches


def cases_of(
    ours: Callable[[], Built],
    hugging_face: Callable[[bool], Built],
    given: Asked,
    more: dict[str, Callable[[], Built]],
) -> dict[str, Callable[[], Built]]:
    """Returns the cases: what takes no time to build first, then in order of importance."""
    cases = {"hugging face": partial(hugging_face, False), "clearhead": ours, **more}
    if given.compile:
        cases["hugging face, layers compiled"] = partial(hugging_face, True)
    return cases


FAMILIES = {"gpt": language_model, "bert": masked, "translate": translation}

if __name__ == "__main__":
    options = asked()
    (family,) = options.words
    run(f"train-{family}", "tokens/s", FAMILIES[family](options), options, first="clearhead")
