"""Measures training a decoder-only model, with equal shapes and batches in all peers: tokens/s and ms per iteration.

``char`` is nanoGPT's CPU setting for characters, ``mid`` its Shakespeare model for a GPU; neither has dropout. Our
model has GPT-2's parts, like Hugging Face's (GELU with tanh, biases); ``clearhead as nanogpt`` has nanoGPT's (GELU with
erf, no biases). ``head`` is the output layer and the loss alone, with 50,257 pieces: ours never holds all logits, the
plain computation does. The peer nanogpt needs a checkout of nanoGPT, which NANOGPT names in the environment.
``clearhead`` is in bfloat16 where the processor has it; ``+bfloat16`` is a peer under autocast.
"""

import os
import sys

from driver import Case, Run, main
from train_translation import MALLOC, in_bfloat16, numbers

SHAPES = {
    "char": {"n": 4, "h": 4, "d": 128, "context": 64, "rows": 12, "steps": 10},
    "mid": {"n": 6, "h": 6, "d": 384, "context": 256, "rows": 16, "steps": 1},
}
VOCAB, RATE, ADAM = 65, 1e-3, {"betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}
HEAD_ROWS, HEAD_D, HEAD_VOCAB = 2048, 512, 50_257


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (some steps) of a case."""
    import torch

    torch.manual_seed(0)
    if spec["shape"] == "head":
        return head(spec["peer"])
    shape = SHAPES[spec["shape"]]
    ids = torch.randint(1, VOCAB, (shape["rows"], shape["context"] + 1))
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    peers = {"clearhead": clearhead, "hf-gpt2": hugging_face, "nanogpt": nanogpt}
    net, step = peers[spec["peer"]](shape, inputs, targets, **spec.get("options", {}))
    net.train()

    def run() -> float:
        for _ in range(shape["steps"]):
            step()
        return shape["steps"] * inputs.numel()

    weights = sum(weight.numel() for weight in net.parameters())
    d, n = shape["d"], shape["n"]
    facts = {"gflop": 6 * (12 * n * d * d + d * VOCAB) / 1e9, "parameters": f"{weights:,}"}
    return run, facts | {"per_iteration": inputs.numel()}


def clearhead(shape: dict, inputs, targets, *, precision=None, **block):
    """Sets up our model and step as ``clearhead train`` runs them."""
    from clearhead.data.stream import StreamBatch
    from clearhead.loss import plain_loss
    from clearhead.models.gpt import GPT, GPTConfig
    from clearhead.nn.layer import BlockConfig
    from clearhead.optim.build import OptimConfig, build_optimizers
    from clearhead.tasks.language_model.recipe import language_model_loss
    from clearhead.training.device import keep_freed_memory
    from clearhead.training.step import train_step

    keep_freed_memory()
    sizes = {"d_model": shape["d"], "d_ff": 4 * shape["d"], "n_heads": shape["h"], "n_layers": shape["n"]}
    words = BlockConfig(**{"activation": "gelu_tanh", **block})
    net = GPT(GPTConfig(**sizes, max_seq_len=shape["context"], dropout=0.0, block=words), vocab_size=VOCAB)
    optimizers = build_optimizers(net, OptimConfig(**ADAM), RATE)
    batch, loss = StreamBatch(inputs, targets, inputs.numel()), plain_loss()
    options = {"grad_clip_norm": 1.0, "precision": numbers(precision)}
    return net, lambda: train_step(net, [batch], lambda one: language_model_loss(net, one, loss), optimizers, **options)


def hugging_face(shape: dict, inputs, targets, *, precision: str = "float32"):
    """Sets up Hugging Face's GPT-2 class with a standard training loop."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_positions": shape["context"], "n_embd": shape["d"], "n_layer": shape["n"], "n_head": shape["h"]}
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    net = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, bos_token_id=0, eos_token_id=0, **sizes, **rates))
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, **ADAM, fused=True)
    labels = torch.cat([inputs[:, :1], targets[:, :-1]], dim=1)  # the model shifts labels itself

    def loss():
        return net(input_ids=inputs, labels=labels, use_cache=False).loss

    loss_of = loss if precision == "float32" else in_bfloat16(loss)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss_of().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()

    return net, step


def nanogpt(shape: dict, inputs, targets, *, compiled: bool = False):
    """Sets up nanoGPT's own model and optimizer as its ``train.py`` does, compiled (its default) or not."""
    import torch

    sys.path.insert(0, os.environ["NANOGPT"])
    from model import GPT, GPTConfig

    sizes = {"block_size": shape["context"], "n_embd": shape["d"], "n_layer": shape["n"], "n_head": shape["h"]}
    net = GPT(GPTConfig(vocab_size=VOCAB, dropout=0.0, bias=False, **sizes))
    optimizer = net.configure_optimizers(ADAM["weight_decay"], RATE, ADAM["betas"], "cpu")

    forward = torch.compile(net) if compiled else net

    def step() -> None:
        forward(inputs, targets)[1].backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return net, step


def head(peer: str) -> tuple[Run, dict]:
    """Sets up the output layer and the loss, forward and backward."""
    import torch
    from torch.nn import functional

    from clearhead.loss import linear_cross_entropy, plain_loss

    x = torch.randn(HEAD_ROWS, HEAD_D, requires_grad=True)
    weight = (torch.randn(HEAD_VOCAB, HEAD_D) * 0.02).requires_grad_()
    targets, config = torch.randint(0, HEAD_VOCAB, (HEAD_ROWS,)), plain_loss()

    def run() -> float:
        x.grad = weight.grad = None
        if peer == "clearhead":
            total, count = linear_cross_entropy(x, weight, targets, config)
            (total / count).backward()
        else:
            functional.cross_entropy(functional.linear(x, weight), targets).backward()
        return HEAD_ROWS

    return run, {"gflop": 6 * HEAD_D * HEAD_VOCAB / 1e9, "parameters": f"{weight.numel():,}"}


def cases() -> list[Case]:
    """Returns the cases: peers out of the box, and for information Hugging Face with the allocator's setting."""
    every = []
    for shape in SHAPES:
        every += [Case(shape, peer, {"shape": shape, "peer": peer}) for peer in ("clearhead", "hf-gpt2")]
        for peer, name, precision in (
            ("clearhead", "clearhead float32", "float32"), ("hf-gpt2", "hf-gpt2+bfloat16", "bfloat16")
        ):  # fmt: skip
            every.append(Case(shape, name, {"shape": shape, "peer": peer, "options": {"precision": precision}}))
        every.append(Case(shape, "nanogpt", {"shape": shape, "peer": "nanogpt"}))
        every.append(Case(shape, "nanogpt+compile", {"shape": shape, "peer": "nanogpt", "options": {"compiled": True}}))
        as_there = {"activation": "gelu", "bias": False}
        every.append(Case(shape, "clearhead as nanogpt", {"shape": shape, "peer": "clearhead", "options": as_there}))
        every.append(Case(shape, "hf-gpt2+malloc", {"shape": shape, "peer": "hf-gpt2"}, environ=MALLOC, repeats=3))
    every += [Case("head", peer, {"shape": "head", "peer": peer}) for peer in ("clearhead", "cross_entropy")]
    return every


if __name__ == "__main__":
    columns = {"parameters": "parameters", "tokens an iteration": "per_iteration"}
    main(__file__, build, cases(), groups="shapes", unit="tokens/s", columns=columns)
