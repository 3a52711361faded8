"""What a K-V cache holds, what is written to it and read from it at each step and layer, and what that saves.

A GPT writes piece by piece. Old keys and values do not change, since no piece looks at later ones; so they are kept,
and each step computes those of its own piece only. The bytes are counted at PyTorch's dispatcher, and beside it at
each layer; the same text is then computed anew at every step, and compared.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.benchmark import Timer

from clearhead.drawing.report import Part, Table
from clearhead.inspect.traffic import CacheTraffic, distinct_bytes
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.flops import FlopCount
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.cache import KeysValues, KVCache, LayerCache

LIMITS = {"steps": (2, 32), "d_model": (8, 256), "n_layers": (1, 4), "longest": (16, 1024)}
SHORT = {"longest": 256}
VOCAB, HEADS, ROOM, REPEATS = 50, 4, 8, 5  # ROOM: positions that the cache has at first


@dataclass(frozen=True)
class Step:
    """What one step of one piece moved, in bytes."""

    written: int
    read: int
    copied: int
    """Into a larger buffer."""
    keys: list[int]
    """Handed to the attention of each layer."""
    values: list[int]
    views: bool
    """Whether all of that lay in the cache's own memory."""


@dataclass(frozen=True)
class Cached:
    """What was measured."""

    position: int
    """Bytes of the keys of one position in one layer; its values take as much."""
    steps: list[Step]
    apart: float
    """Largest difference of logits from those computed anew."""
    lengths: list[int]
    flops: dict[str, list[int]]
    """Of the last piece of texts of these lengths, with the cache of the others and with none."""
    seconds: dict[str, list[float]]


class Watched(LayerCache):
    """A layer's cache that keeps what it last handed out."""

    given: KeysValues

    def append(self, keys: Tensor, values: Tensor) -> KeysValues:
        """See ``LayerCache``."""
        self.given = super().append(keys, values)
        return self.given


@torch.inference_mode()
def run(*, steps: int = 10, d_model: int = 64, n_layers: int = 2, longest: int = 1024, seed: int = 0) -> Cached:
    """Writes a text step by step; then the last piece of longer texts, with a cache and without."""
    torch.manual_seed(seed)
    size, room = d_model // HEADS * HEADS, max(steps, longest)
    config = GPTConfig(d_model=size, d_ff=4 * size, n_heads=HEADS, n_layers=n_layers, max_seq_len=room, dropout=0.0)
    model, ids = GPT(config, vocab_size=VOCAB).eval(), torch.randint(VOCAB, (1, room))
    cache, taken, apart = model.new_cache(1, capacity=ROOM), list[Step](), 0.0
    layers = [Watched(cache, layer) for layer in range(n_layers)]
    cache.layers = list[LayerCache](layers)
    for at in range(steps):
        with CacheTraffic(cache) as traffic:
            logits = model(ids[:, at : at + 1], cache=cache)
        apart = max(apart, float((logits[:, -1] - model(ids[:, : at + 1])[:, -1]).abs().max()))
        keys, values = ([distinct_bytes(layer.given[side]) for layer in layers] for side in (0, 1))
        memory = {part.untyped_storage().data_ptr() for layer in layers for part in layer.given}
        views = memory == {cache.buffer.untyped_storage().data_ptr()}
        taken.append(Step(traffic.written, traffic.read, traffic.copied, keys, values, views))
    lengths = [length for length in (16, 64, 256, 1024) if length <= longest]
    anew = [cost(model, ids[:, :length], None) for length in lengths]
    cached = [cost(model, ids[:, :length], model.new_cache(1, capacity=length)) for length in lengths]
    flops = {"cached": [count for count, _ in cached], "anew": [count for count, _ in anew]}
    seconds = {"cached": [took for _, took in cached], "anew": [took for _, took in anew]}
    return Cached(size * cache.buffer.element_size(), taken, apart, lengths, flops, seconds)


def cost(model: GPT, ids: Tensor, cache: KVCache | None) -> tuple[int, float]:
    """Returns the FLOP and the seconds that the last piece of a text takes, given a cache of the others, or none."""
    if cache is not None:
        model(ids[:, :-1], cache=cache)
        ids = ids[:, -1:]

    def step() -> None:
        model(ids, cache=cache)
        if cache is not None:
            cache.length -= 1  # takes the piece back

    with FlopCount() as count:
        step()
    timer = Timer("step()", globals={"step": step})  # on one thread
    return count.total, min(timer.timeit(1).mean for _ in range(REPEATS))


def check(measured: Cached) -> Claims:
    """Returns whether each sentence of the answer holds."""
    steps, own, layers = measured.steps, measured.position, len(measured.steps[0].keys)
    lengths, flops = measured.lengths, measured.flops
    less, grown = flops["anew"][-1] / flops["cached"][-1], flops["cached"][-1] - flops["cached"][0]
    copied = [at for at, step in enumerate(steps) if step.copied]
    return {
        "both": all(step.keys == step.values == [own * (at + 1)] * layers for at, step in enumerate(steps)),
        "each": all(step.read == sum(step.keys + step.values) for step in steps),
        "written": all(step.written == 2 * own * layers for step in steps),
        "view": all(step.views for step in steps) and set(copied) <= {ROOM, 2 * ROOM},
        "same": measured.apart < 1e-4,
        "less": less > 0.5 * lengths[-1] and grown == own * layers * (lengths[-1] - lengths[0]),  # 4 FLOP, or bytes
    }


def facts(measured: Cached) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    last, times = measured.steps[-1], measured.flops["anew"][-1] / measured.flops["cached"][-1]
    moved = {"steps": len(measured.steps), "read": last.read, "written": last.written, "length": measured.lengths[-1]}
    texts = {name: f"{number:,}" for name, number in moved.items()}
    return {"guess": f"{last.read:,} B", **texts, "times": f"{times:.0f}"}


def show(measured: Cached, say: Say) -> list[Part]:
    """Returns a row for each step, and a row for each length of the text."""
    layers = range(1, len(measured.steps[0].keys) + 1)
    columns = (say("step"), say("written"), *(f"{side}{layer}" for layer in layers for side in "KV"))
    columns += (say("read"), say("copied"))
    rows = []
    for at, step in enumerate(measured.steps):
        layer_by_layer = [number for pair in zip(step.keys, step.values, strict=True) for number in pair]
        rows.append(tuple(map(str, (at + 1, step.written, *layer_by_layer, step.read, step.copied))))
    flops, seconds = ([its["cached"], its["anew"]] for its in (measured.flops, measured.seconds))
    costs = [
        (str(length), f"{few:,}", f"{many:,}", f"{short * 1e3:.2f}", f"{long * 1e3:.2f}")
        for length, few, many, short, long in zip(measured.lengths, *flops, *seconds, strict=True)
    ]
    heads = (say(name) for name in ("length", "cached", "anew", "cached_ms", "anew_ms"))
    tables = ((say("bytes"), columns, rows), (say("cost"), heads, costs))
    return [Table(title, tuple(f">{name}" for name in names), cells) for title, names, cells in tables]
