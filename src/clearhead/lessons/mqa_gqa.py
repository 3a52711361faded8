"""Multi-head, grouped-query and multi-query attention side by side: bytes of the cache, speed and quality.

In grouped-query attention (Ainslie et al., 2023, arXiv:2305.13245) several heads of queries share one head of keys and
values; with a single one for all it is multi-query attention (Shazeer, 2019, arXiv:1911.02150). Three models that are
equal otherwise are compared. For quality each position fetches a part from each of four others, 16 numbers in all.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad
from torch.utils.benchmark import Timer

from clearhead.drawing.report import Curves, Part, Table, amount
from clearhead.inspect.traffic import CacheTraffic
from clearhead.lessons.heads import SEQ, batch
from clearhead.lessons.lesson import Claims, Say
from clearhead.meter.watch import watching
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.attention import SelfAttention
from clearhead.progress import Progress, silent

LIMITS = {"steps": (20, 500), "length": (2, 1024)}
SHORT = {"steps": 120, "length": 32}
D_MODEL, N_HEADS, VOCAB, REPEATS = 64, 8, 50, 5
KINDS = {"MHA": 8, "GQA": 2, "MQA": 1}  # heads of keys and values, for eight heads of queries


@dataclass(frozen=True)
class Kind:
    """A model with so many heads of keys and values."""

    kv_heads: int
    parameters: int  # of one attention
    read: int
    written: int
    seconds: float
    """Of the last step of a text: bytes from and to the cache, and time."""
    copies: float
    """Largest difference from multi-head attention whose heads hold copies of the shared keys and values."""
    losses: list[float]
    """At each step of training, as a share of the target's variance."""


@dataclass(frozen=True)
class Grouped:
    """What was measured."""

    length: int
    kinds: dict[str, Kind]


def run(*, steps: int = 150, length: int = 256, seed: int = 0, progress: Progress = silent) -> Grouped:
    """Lets a GPT of each kind write the last piece of a text, and trains an attention of each kind."""
    kinds = {}
    for number, (name, kv_heads) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        attend = SelfAttention(D_MODEL, n_heads=N_HEADS, n_kv_heads=kv_heads)
        parameters = sum(parameter.numel() for parameter in attend.parameters())
        copies, moved = copied(attend), writing(kv_heads, length)
        kinds[name] = Kind(kv_heads, parameters, *moved, copies, training(attend, steps))
        progress(number + 1, len(KINDS))
    return Grouped(length, kinds)


@torch.no_grad()
def writing(kv_heads: int, length: int) -> tuple[int, int, float]:
    """Returns the bytes that the last step of a text reads and writes, and its seconds."""
    sizes: dict[str, Any] = {"d_model": 128, "n_heads": N_HEADS, "n_kv_heads": kv_heads, "max_seq_len": length}
    model, ids = GPT(GPTConfig(**sizes), vocab_size=VOCAB).eval(), torch.randint(VOCAB, (1, length))
    cache = model.new_cache(1, capacity=length)
    model(ids[:, :-1], cache=cache)
    with CacheTraffic(cache) as traffic:
        model(ids[:, -1:], cache=cache)

    def again() -> None:
        cache.length -= 1
        model(ids[:, -1:], cache=cache)

    timer = Timer("again()", globals={"again": again})  # on one thread
    return traffic.read, traffic.written, min(timer.timeit(1).mean for _ in range(REPEATS))


@torch.no_grad()
def copied(attend: SelfAttention) -> float:
    """Gives each head of queries a copy of the keys and values that it shares; returns how far outputs are apart."""
    full, x = SelfAttention(D_MODEL, n_heads=N_HEADS), torch.randn(2, SEQ, D_MODEL)
    states = attend.state_dict()
    for name in ("k_proj.weight", "k_proj.bias", "v_proj.weight", "v_proj.bias"):
        by_head = states[name].unflatten(0, (attend.n_kv_heads, attend.head_dim))
        states[name] = by_head.repeat_interleave(N_HEADS // attend.n_kv_heads, dim=0).flatten(0, 1)
    full.load_state_dict(states)
    with watching({"weights": attend.core.tap}):  # so that heads are shared by clearhead's own lines
        return float((attend(x) - full(x)).abs().max())


def training(attend: SelfAttention, steps: int) -> list[float]:
    """Returns the loss at each step of the task of the lesson on heads."""
    optimizer, losses = torch.optim.Adam(attend.parameters(), lr=0.02), []
    for _ in range(steps):
        x, wanted = batch()
        given = attend(pad(x, (0, D_MODEL - x.shape[-1])))[..., : wanted.shape[-1]]
        loss = (given - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def end(kind: Kind) -> float:
    """Returns the mean loss of the last ten steps."""
    return sum(kind.losses[-10:]) / len(kind.losses[-10:])


def check(measured: Grouped) -> Claims:
    """Returns whether each sentence of the answer holds."""
    mha, gqa, mqa = kinds = list(measured.kinds.values())
    every_step_writes = all(its.written * measured.length == its.read for its in kinds)
    return {
        "copies": all(its.copies < 1e-5 for its in kinds),
        "bytes": all(its.read * N_HEADS == mha.read * its.kv_heads for its in kinds) and every_step_writes,
        "fewer": mha.parameters > gqa.parameters > mqa.parameters > 0.5 * mha.parameters,
        "same": end(mha) < 0.1 and end(gqa) < 0.1,
        "worse": 0.3 < end(mqa) < 0.7,
    }


def facts(measured: Grouped) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    mha, gqa, mqa = measured.kinds.values()
    read = {"read_mha": amount(mha.read), "read_gqa": amount(gqa.read), "read_mqa": amount(mqa.read)}
    losses = {"mha": f"{end(mha):.2f}", "gqa": f"{end(gqa):.2f}", "mqa": f"{end(mqa):.2f}"}
    return {"guess": read["read_mqa"], "length": str(measured.length), **read, **losses}


def show(measured: Grouped, say: Say) -> list[Part]:
    """Returns a row for each kind, bars of what is read, and the curves of training."""
    rows = []
    for name, its in measured.kinds.items():
        moved = (amount(its.read), f"{its.written:,} B", f"{its.seconds * 1e3:.2f}")
        rows.append((name, str(its.kv_heads), f"{its.parameters:,}", *moved, f"{end(its):.3f}"))
    names = ("kv_heads", "parameters", "read", "written", "seconds", "loss")
    steps = [float(at + 1) for at in range(len(measured.kinds["MHA"].losses))]
    curves = {name: its.losses for name, its in measured.kinds.items()}
    return [
        Table(say("kinds"), ("", *(f">{say(name)}" for name in names)), rows),
        Curves(say("curve"), say("step"), steps, curves),
    ]
