"""What becomes of a text that is longer than the context: cut off, put into rows of its own, packed, or read on.

A language model predicts the next piece wherever it stands, so documents can be joined by end marks and cut into rows
anywhere. A pair of sentences cannot: what is cut off on one side may still stand on the other.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import torch

from clearhead.data.corpus import DataConfig, PairFilter, ParallelFiles
from clearhead.data.demo_corpus import demo_pairs
from clearhead.data.stream import StreamBatch, TokenStream, training_windows
from clearhead.drawing.report import Part, Table
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.text.overlong import OverlongPair
from clearhead.text.special import NO_TARGET
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"context": (8, 64), "documents": (20, 1000)}
SHOWN, MOST_SENTENCES = 4, 6  # rows of each policy that are printed; sentences of a document
PAIR_LIMIT, WORDS = 12, ("昨天", "yesterday")  # pieces of either side of a pair; a word in both languages
POLICIES: tuple[OverlongPair, ...] = ("truncate", "drop", "split")


class Stream(TokenStream):
    """Documents one after the other, each with its end mark: what ``prepare_stream`` maps from a file."""

    def __init__(self, rows: list[list[int]], end: int) -> None:
        self.begin = self.fill = end
        self.ids = torch.tensor([number for row in rows for number in row]).numpy()
        self.starts = torch.tensor([0, *map(len, rows[:-1])]).cumsum(0).numpy()


@dataclass(frozen=True)
class OverLong:
    """What was measured."""

    rows: dict[str, list[str]]
    """The first rows by each policy, as pieces."""
    costs: dict[str, tuple[int, float, float]]
    """How many rows, the share of padding in them, the share of the text that is lost."""
    in_order: bool
    """Whether the packed rows, one after the other, are the text: nothing left out and nothing twice."""
    change: dict[str, float]
    """By how much logits change with what stands before, at most."""
    pairs: dict[str, tuple[float, float]]
    """Of pairs the share of pieces kept; of those with one of the words, the share with it on one side only."""


def run(*, context: int = 12, documents: int = 200, seed: int = 0) -> OverLong:
    """Puts documents of a few sentences, and sentence pairs, into rows by each policy."""
    draw, pairs = random.Random(seed), list(demo_pairs(2000, seed))
    tokenizer = Tokenizer.train([line for pair in pairs for line in pair], TokenizerConfig(vocab_size=2000))
    texts = [" ".join(draw.choice(pairs)[1] for _ in range(draw.randint(1, MOST_SENTENCES))) for _ in range(documents)]
    ids = [[*row, tokenizer.ids.eos] for row in tokenizer.encode_batch(texts)]
    stream = Stream(ids, tokenizer.ids.eos)
    plan = training_windows(stream, context=context, batch_tokens=1 << 30, seed=seed, epoch=0, isolated=True)
    batch = plan[0]  # with so many tokens a batch it is the only one
    in_text_order = batch.targets[torch.from_numpy(plan.plan[0].argsort())].tolist()
    policies = {
        "truncate": [row[:context] for row in ids],
        "pad": [row[at : at + context] for row in ids for at in range(0, len(row), context)],
        "pack": [[number for number in row if number != NO_TARGET] for row in in_text_order],
    }
    costs, first = {}, {}
    for name, rows in policies.items():
        used = sum(map(len, rows))
        costs[name] = (len(rows), 1 - used / (len(rows) * context), 1 - used / len(stream))
        first[name] = [" ".join(tokenizer.pieces(row) + ["·"] * (context - len(row))) for row in rows[:SHOWN]]
    in_order = [number for row in policies["pack"] for number in row] == stream.ids.tolist()
    torch.manual_seed(seed)
    config = GPTConfig(d_model=32, d_ff=64, n_heads=2, n_layers=2, max_seq_len=2 * context, position="rotary")
    model = GPT(config, vocab_size=tokenizer.vocab_size).eval()
    shares = {str(policy): of_pairs(pairs, tokenizer, policy) for policy in POLICIES}
    return OverLong(first, costs, in_order, changes(model, batch), shares)


@torch.no_grad()
def changes(model: GPT, batch: StreamBatch) -> dict[str, float]:
    """Measures on a GPT, before training, by how much its logits depend on what stands before."""
    assert batch.document_ids is not None
    first, second = batch.ids[:1], batch.ids[1:2]
    cache = model.new_cache(1)
    whole, _ = model(torch.cat([first, second], 1))[:, first.shape[1] :], model(first, cache=cache)
    later = batch.document_ids.gt(0)  # behind the document with which the row begins, which is replaced by another
    other = batch.ids.where(later, batch.ids.roll(1, 0))
    apart = {"documents": batch.document_ids, "positions": batch.positions}
    differences = {
        "alone": whole - model(second),
        "carried": whole - model(second, cache=cache),
        "packed": (model(batch.ids) - model(other))[later],
        "isolated": (model(batch.ids, **apart) - model(other, **apart))[later],
    }
    return {name: float(difference.abs().max()) for name, difference in differences.items()}


def of_pairs(pairs: list[tuple[str, str]], tokenizer: Tokenizer, policy: OverlongPair) -> tuple[float, float]:
    """Joins every two pairs to a longer one; returns the share that is kept, and the share of it that is broken."""
    fit = [(zh, en) for zh, en in pairs if zh.count(WORDS[0]) == en.lower().count(WORDS[1])]
    joined = [(0, a[0] + b[0], f"{a[1]} {b[1]}") for a, b in zip(fit[::2], fit[1::2], strict=False)]
    config, files = DataConfig(max_len=PAIR_LIMIT, overlong=policy), ParallelFiles(Path("zh"), Path("en"))
    keep = PairFilter(config, files=files, src=tokenizer, tgt=tokenizer)
    sides = [(tokenizer.decode(pair.src_ids), tokenizer.decode(pair.tgt_ids).lower()) for pair in keep(joined)]
    having = [(WORDS[0] in zh, WORDS[1] in en) for zh, en in sides if WORDS[0] in zh or WORDS[1] in en]
    report = keep.report.src
    return report.tokens_used / report.tokens_in, sum(zh != en for zh, en in having) / max(1, len(having))


def check(measured: OverLong) -> Claims:
    """Returns whether each sentence of the answer holds."""
    change, pairs, pad, pack = measured.change, measured.pairs, measured.costs["pad"], measured.costs["pack"]
    return {
        "truncate": measured.costs["truncate"][2] > 0.3,
        "pad": pad[2] == 0 and pad[1] > 0.1,
        "pack": measured.in_order and pack[1] < 0.05 and pack[0] < pad[0],
        "isolated": change["isolated"] < 1e-3 * change["packed"],
        "carried": change["carried"] < 1e-3 * change["alone"],
        "pairs": pairs["truncate"][1] > 0.15,
        "whole": pairs["drop"][1] == pairs["split"][1] == 0 < pairs["drop"][0] < pairs["split"][0],
    }


def facts(measured: OverLong) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    shares = {"padding": measured.costs["pad"][1], "lost": measured.costs["truncate"][2]}
    shares |= {"guess": shares["padding"], "broken": measured.pairs["truncate"][1]}
    texts = {name: f"{share:.0%}" for name, share in shares.items()}
    texts |= {f"{name}_rows": str(measured.costs[name][0]) for name in ("pad", "pack")}
    return texts | {name: f"{measured.change[name]:.2g}" for name in ("packed", "alone")}


def show(measured: OverLong, say: Say) -> list[Part]:
    """Returns the first rows of each policy, what each costs, what a row sees, and what becomes of pairs."""
    rows = [(say(name), row) for name, rows in measured.rows.items() for row in rows]
    costs = [
        (say(name), str(count), f"{pad:.1%}", f"{lost:.1%}") for name, (count, pad, lost) in measured.costs.items()
    ]
    seen = [(say(name), f"{value:.2g}") for name, value in measured.change.items()]
    pairs = [(say(f"pair_{name}"), *(f"{share:.1%}" for share in shares)) for name, shares in measured.pairs.items()]
    return [
        Table(say("batch"), (say("policy"), say("row")), rows),
        Table(say("costs"), (say("policy"), f">{say('rows')}", f">{say('padding')}", f">{say('lost')}"), costs),
        Table(say("sees"), (say("compared"), f">{say('change')}"), seen),
        Table(say("pairs"), (say("policy"), f">{say('kept')}", f">{say('broken')}"), pairs),
    ]
