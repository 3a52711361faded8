"""Pretraining on text without labels, then learning a task from a few lines with labels, beside a start from scratch.

A small GPT predicts the next pieces of lines that end in a time (Radford et al., 2018). The task comes after: is a line
about the past? There the time is cut off, so that the form of the verb has to say it.
"""

from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from clearhead.data.demo_corpus import demo_pairs
from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.bert import LabelHead
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.progress import Progress, silent
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"labelled": (4, 256), "steps": (1, 1000)}
SHORT = {"labelled": (16, 64), "steps": 90}
DRAWS, TEST, PAD, BEGIN, PIECES, SIZE = 2, 150, 0, 1, 800, 48  # draws of labelled lines; lines of a class to test
PAST = "the day before yesterday,yesterday afternoon,yesterday,last night,last week,last month,last year,this morning"
OTHER = "the day after tomorrow,tomorrow morning,tomorrow afternoon,tomorrow,tonight,next week,next month,next year,"
OTHER += "every day,every morning,every night,every weekend,every month"
KINDS = ("scratch", "tuned", "head")  # nothing is pretrained; all goes on from there; only the head learns


@dataclass(frozen=True)
class Transfer:
    """What was measured."""

    example: tuple[str, str]
    """A line of pretraining, and the same as a line of the task."""
    loss: tuple[float, float]
    """Of the next piece in lines for the test, in nats, before and after pretraining."""
    labelled: list[int]
    right: dict[str, list[float]]
    """Share of lines that are classified right, by kind, for each number of labelled lines."""


def run(
    *, labelled: tuple[int, ...] = (16, 64, 256), steps: int = 200, seed: int = 0, progress: Progress = silent
) -> Transfer:
    """Pretrains a GPT on text that grows with the steps, then learns the task in a fifth of them."""
    others, past = times(max(80 * steps, 8000), seed)
    pairs = [pair for both in zip(past.items(), others.items(), strict=False) for pair in both]
    text = [line for kind in (past, others) for its in list(kind.values())[TEST:] for line in its]
    tokenizer = Tokenizer.train(text, TokenizerConfig("wordpiece", PIECES))
    cut, example = rows_of(tokenizer, [cut for cut, _ in pairs]), (pairs[0][1][0], pairs[0][0])
    whole, test = (rows_of(tokenizer, its) for its in (text, [its[0] for _, its in pairs[: 2 * TEST]]))
    torch.manual_seed(seed)
    before = loss_of(gpt := new_gpt(), test).item()
    optimizer = torch.optim.AdamW(gpt.parameters(), lr=0.01, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(gpt, whole[torch.randint(len(whole), (64,))]).backward()
        optimizer.step()
        progress(step + 1, 2 * steps)
    right: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, count in enumerate(labelled, 1):
        for kind in KINDS:
            right[kind].append(fmean(learned(gpt, cut, kind, count, steps // 5, draw) for draw in range(DRAWS)))
        progress(steps + number * steps // len(labelled), 2 * steps)
    return Transfer(example, (before, loss_of(gpt, test).item()), list(labelled), right)


def times(lines: int, seed: int) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Returns lines of the demo that end in another time, and in one of the past, by what they are without it."""
    kinds: tuple[dict[str, list[str]], dict[str, list[str]]] = {}, {}
    for line in (english.rstrip(".?") for _, english in demo_pairs(lines, seed)):
        time = next((time for time in f"{PAST},{OTHER}".split(",") if line.endswith(f" {time}")), None)
        if time:
            kinds[time in PAST.split(",")].setdefault(line.removesuffix(f" {time}"), []).append(line)
    return kinds


def rows_of(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Returns texts as ids with padding on the right."""
    rows = [torch.tensor([BEGIN, *ids]) for ids in tokenizer.encode_batch(texts)]
    return pad_sequence(rows, batch_first=True, padding_value=PAD)


def new_gpt() -> GPT:
    """Returns a GPT that has learned nothing."""
    sizes = GPTConfig(d_model=SIZE, d_ff=2 * SIZE, n_heads=4, n_layers=1, dropout=0.0, position="rotary", tie=False)
    return GPT(sizes, vocab_size=PIECES, pad_id=PAD)


def loss_of(gpt: GPT, ids: Tensor) -> Tensor:
    """Returns the mean loss of the next piece, in nats."""
    ids = ids[:, : int((ids != PAD).sum(1).max())]
    return cross_entropy(gpt(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), ignore_index=PAD)


def learned(pretrained: GPT, cut: Tensor, kind: str, count: int, steps: int, draw: int) -> float:
    """Learns the task from ``count`` lines, half of them of the past; returns the share of lines that is right."""
    torch.manual_seed(draw)
    gpt, head = new_gpt().requires_grad_(kind != "head"), LabelHead(SIZE, n_labels=2)
    if kind != "scratch":
        gpt.load_state_dict(pretrained.state_dict())
    even = 2 * TEST + 2 * torch.randperm(len(cut) // 2 - TEST)[: count // 2]
    chosen = torch.cat([even, even + 1])  # lines of the past have even numbers
    optimizer = torch.optim.AdamW([*gpt.parameters(), *head.parameters()], lr=0.01 if kind == "head" else 0.002)
    for _ in range(steps):
        batch = chosen[torch.randint(len(chosen), (32,))]
        optimizer.zero_grad()
        cross_entropy(head(last_states(gpt, cut[batch])), batch % 2).backward()
        optimizer.step()
    labels = head(last_states(gpt, cut[: 2 * TEST])).argmax(-1)
    return fmean((labels == torch.arange(2 * TEST) % 2).tolist())


def last_states(gpt: GPT, ids: Tensor) -> Tensor:
    """Returns the states of the last pieces before padding: they have seen the whole line."""
    ids = ids[:, : int((ids != PAD).sum(1).max())]
    return gpt.hidden(ids)[torch.arange(len(ids)), (ids != PAD).sum(1) - 1]


def check(measured: Transfer) -> Claims:
    """Returns whether each sentence of the answer holds; they need 80 steps, and few and more labelled lines."""
    scratch, tuned, head = (measured.right[kind] for kind in KINDS)
    return {
        "text": measured.loss[1] < 0.6 * measured.loss[0],
        "few": tuned[0] > scratch[0] + 0.06,
        "head": head[0] > scratch[0] + 0.1 and head[0] > tuned[0] - 0.03,
        "worth": head[0] > scratch[-1] + 0.02,
        "labels": tuned[-1] > tuned[0] + 0.04 and scratch[-1] > scratch[0] + 0.06,
    }


def facts(measured: Transfer) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    first, last = ({kind: measured.right[kind][at] for kind in KINDS} for at in (0, -1))
    shares = {f"{kind}_few": share for kind, share in first.items()} | {"guess": first["head"]}
    shares |= {"scratch_many": last["scratch"], "tuned_many": last["tuned"]}
    texts = {"few": str(measured.labelled[0]), "many": str(measured.labelled[-1])}
    texts |= {"before": f"{measured.loss[0]:.2f}", "after": f"{measured.loss[1]:.2f}", "weights": str(2 * SIZE + 2)}
    return texts | {name: f"{share:.0%}" for name, share in shares.items()}


def show(measured: Transfer, say: Say) -> list[Part]:
    """Returns a line of each kind of text, and what is right by the number of labelled lines."""
    lines = list(zip(map(say, ("pretraining", "task")), measured.example, strict=True))
    rows = [(say(kind), *map("{:.0%}".format, shares)) for kind, shares in measured.right.items()]
    columns = (say("labelled"), *(f">{count}" for count in measured.labelled))
    return [Table(say("example"), (say("text"), say("line")), lines), Table(say("right"), columns, rows)]
