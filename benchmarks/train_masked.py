"""Measures tokens/s of pretraining a BERT (MLM and NSP), with equal shape, batches and optimizer in all peers.

The model has 256 features, 4 layers and 16,000 pieces; a batch has 16 rows of 128 positions, of which 15 % are masked.
The group ``dropout`` has BERT's rate of 0.1 everywhere, ``plain`` none. Our model has the parts of Hugging Face's
(post-norm, learned positions, GELU, tied output). ``hf`` is ``BertForPreTraining``, which computes logits at every
position; ``hf-masked`` applies its head to the masked positions only; ``+bfloat16`` is a peer under autocast.
"""

import dataclasses

from driver import Case, Run, main
from train_translation import MALLOC, in_bfloat16, numbers

D, LAYERS, HEADS, VOCAB, ROWS, LENGTH = 256, 4, 4, 16_000, 16, 128
SHARE, RATE, ADAM = 0.15, 1e-4, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
GROUPS = {"dropout": 0.1, "plain": 0.0}
STEPS = 2


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (some steps) of a case."""
    import torch

    torch.manual_seed(0)
    originals = torch.randint(5, VOCAB, (ROWS, LENGTH))
    hidden = torch.rand(ROWS, LENGTH) < SHARE
    ids = originals.masked_fill(hidden, 4)
    segments = (torch.arange(LENGTH) >= LENGTH // 2).long().expand(ROWS, LENGTH).contiguous()
    follows = torch.arange(ROWS) % 2
    peers = {"clearhead": clearhead, "hf": hugging_face, "hf-masked": masked_only}
    options = {"precision": spec["precision"]} if "precision" in spec else {}
    net, step = peers[spec["peer"]](ids, originals, hidden, segments, follows, spec["dropout"], **options)
    net.train()

    def run() -> float:
        for _ in range(STEPS):
            step()
        return STEPS * ids.numel()

    inside = 12 * LAYERS * D * D + 2 * LAYERS * LENGTH * D  # multiplications per position, including attention
    head = (D * D + D * VOCAB) * (1 if spec["peer"] == "hf" else float(hidden.float().mean()))
    facts = {"gflop": 6 * (inside + head) / 1e9, "parameters": f"{sum(w.numel() for w in net.parameters()):,}"}
    return run, facts


def clearhead(ids, originals, hidden, segments, follows, dropout, precision=None):
    """Sets up our model and step as ``clearhead train`` runs them."""
    from clearhead.data.masked import MaskedBatch
    from clearhead.loss import plain_loss
    from clearhead.models.bert import BertConfig, BertPretraining, bert_block
    from clearhead.optim.build import OptimConfig, build_optimizers
    from clearhead.tasks.masked.recipe import masked_loss
    from clearhead.training.device import keep_freed_memory
    from clearhead.training.step import train_step

    keep_freed_memory()
    block = dataclasses.replace(bert_block(), attn_dropout=dropout)
    sizes = {"d_model": D, "d_ff": 4 * D, "n_heads": HEADS, "n_layers": LAYERS, "max_seq_len": LENGTH}
    net = BertPretraining(BertConfig(**sizes, dropout=dropout, block=block), vocab_size=VOCAB, pad_id=0)
    optimizers = build_optimizers(net, OptimConfig(**ADAM), RATE)
    at = hidden.flatten().nonzero()[:, 0]
    targets = originals.flatten()[at]
    batch = MaskedBatch(ids, segments, ids >= 0, at, targets, follows, len(at))
    loss, options = plain_loss(), {"grad_clip_norm": 1.0, "precision": numbers(precision)}
    return net, lambda: train_step(net, [batch], lambda one: masked_loss(net, one, loss), optimizers, **options)


def hugging_face(ids, originals, hidden, segments, follows, dropout, precision="float32"):
    """Sets up ``BertForPreTraining`` with a standard training loop."""
    net, step_with = published(dropout, precision)
    labels = originals.masked_fill(~hidden, -100)
    inputs = {"input_ids": ids, "attention_mask": (ids >= 0).long(), "token_type_ids": segments}
    return net, lambda: step_with(lambda: net(**inputs, labels=labels, next_sentence_label=1 - follows).loss)


def masked_only(ids, originals, hidden, segments, follows, dropout, precision="float32"):
    """Sets up the same model with its head applied to the masked positions only."""
    from torch.nn import functional

    net, step_with = published(dropout, precision)
    at = hidden.flatten().nonzero()[:, 0]
    targets = originals.flatten()[at]
    inputs = {"input_ids": ids, "attention_mask": (ids >= 0).long(), "token_type_ids": segments}

    def loss():
        out = net.bert(**inputs)
        logits = net.cls.predictions(out.last_hidden_state.flatten(0, 1).index_select(0, at))
        nsp = net.cls.seq_relationship(out.pooler_output)
        return functional.cross_entropy(logits, targets) + functional.cross_entropy(nsp, 1 - follows)

    return net, lambda: step_with(loss)


def published(dropout: float, precision: str):
    """Returns Hugging Face's model and a function that takes a step on a loss."""
    import torch
    from transformers import BertConfig, BertForPreTraining

    sizes = {"hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": 4 * D}
    rates = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), dropout)
    net = BertForPreTraining(BertConfig(vocab_size=VOCAB, max_position_embeddings=LENGTH, **sizes, **rates))
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, **ADAM, fused=True)

    def step_with(loss_of) -> None:
        optimizer.zero_grad(set_to_none=True)
        (loss_of() if precision == "float32" else in_bfloat16(loss_of)()).backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return net, step_with


def cases() -> list[Case]:
    """Returns the cases: peers out of the box, and for information Hugging Face with the allocator's setting."""
    every = []
    for group, rate in GROUPS.items():
        every += [Case(group, peer, {"peer": peer, "dropout": rate}) for peer in ("clearhead", "hf", "hf-masked")]
        single, half = ({"dropout": rate, "precision": name} for name in ("float32", "bfloat16"))
        every.append(Case(group, "clearhead float32", {"peer": "clearhead", **single}))
        every += [Case(group, f"{peer}+bfloat16", {"peer": peer, **half}) for peer in ("hf", "hf-masked")]
        every.append(Case(group, "hf+malloc", {"peer": "hf", "dropout": rate}, environ=MALLOC, repeats=3))
    return every


if __name__ == "__main__":
    main(__file__, build, cases(), groups="groups", unit="tokens/s", columns={"parameters": "parameters"})
