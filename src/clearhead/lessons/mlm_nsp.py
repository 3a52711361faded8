"""What BERT is pretrained with: hidden pieces, pairs of segments, and an input that is a sum of three embeddings.

Devlin et al. (2019), sections 3.1 and A.2. The rows are those of training; the BERT has not learned anything yet.
"""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from clearhead.data.demo_corpus import demo_pairs
from clearhead.data.documents import TextReport
from clearhead.data.masked import MaskedBatch, Masker, masked_text
from clearhead.data.pairs import MaskedConfig, Pairs
from clearhead.data.sentences import SentenceStore
from clearhead.drawing.report import Part, Table
from clearhead.inspect.attend.inputs import embedded
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.bert import Bert, BertConfig
from clearhead.text.special import SpecialIds
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LIMITS = {"documents": (50, 1000)}
ROW, BATCH, MOST_SENTENCES = 24, 24 * 64, 8  # pieces of a row, marks included; pieces of a batch; of a document
FATES = {"mask": 0.8, "random": 0.1, "same": 0.1}  # of the pieces to predict, the share that the paper gives
CHANGES = {"piece": (1, 0, 0), "position": (0, ROW - 1, 0), "segment": (0, 0, 1), "all": (1, ROW - 1, 1)}


class Sentences(SentenceStore):
    """Documents as sentences as ids, one after the other: what ``prepare_sentences`` maps from a file."""

    def __init__(self, documents: list[list[list[int]]]) -> None:
        self.ids = torch.tensor([i for document in documents for sentence in document for i in sentence]).numpy()
        self.sentences = torch.tensor([0, *(len(its) for document in documents for its in document)]).cumsum(0).numpy()
        self.documents = torch.tensor([0, *map(len, documents)]).cumsum(0).numpy()
        self.report = TextReport(["the demo's sentences"])


@dataclass(frozen=True)
class Pretraining:
    """What was measured."""

    example: list[tuple[str, str, str, str]]
    """A row: segment, piece, what the model sees, and what it is to predict."""
    counts: dict[str, int]
    """Pieces of all rows; of those to predict, how many are hidden, replaced, left as they are; marks among them."""
    pairs: dict[str, int]
    """Rows; those whose B follows A; those of which that is not true."""
    difference: float
    """Between the input of BERT and the normalized sum of three rows of tables, at most."""
    alike: dict[str, float]
    """Cosine between the input of a piece and the same with another part, the mean over all pieces."""


def run(*, documents: int = 400, seed: int = 0) -> Pretraining:
    """Plans the rows of an epoch, hides pieces in them, and takes apart the embeddings of a row."""
    draw, lines = random.Random(seed), [line for _, line in demo_pairs(2000, seed)]
    tokenizer = Tokenizer.train(lines, TokenizerConfig("wordpiece", 1000, specials="masked"))
    texts = [draw.choices(lines, k=draw.randint(2, MOST_SENTENCES)) for _ in range(documents)]
    store, masker = Sentences([tokenizer.encode_batch(text) for text in texts]), Masker(tokenizer, MaskedConfig())
    epoch = masked_text(store, masker=masker, max_seq_len=ROW).training(batch_tokens=BATCH, seed=seed, epoch=0)
    fates = Counter(fate for number in range(len(epoch)) for fate in fates_of(epoch[number], tokenizer.ids))
    counts = {name: fates[name] for name in ("piece", "mark", *FATES)}
    torch.manual_seed(seed)
    bert = Bert(BertConfig(d_model=256, n_layers=1, n_heads=2, dropout=0.0), vocab_size=tokenizer.vocab_size).eval()
    return Pretraining(row_of(epoch[0], tokenizer), counts, truth(epoch.pairs, store), *taken_apart(bert, epoch[0]))


def original(batch: MaskedBatch) -> Tensor:
    """Returns the ids of a batch before pieces were hidden."""
    return batch.ids.flatten().scatter(0, batch.positions, batch.targets).view_as(batch.ids)


def row_of(batch: MaskedBatch, tokenizer: Tokenizer) -> list[tuple[str, str, str, str]]:
    """Returns the first row of a batch, piece by piece."""
    size, chosen = int(batch.mask[0].sum()), set(batch.positions.tolist())
    whole, seen = tokenizer.pieces(original(batch)[0].tolist()), tokenizer.pieces(batch.ids[0].tolist())
    segments = batch.segments[0].tolist()
    return [(str(segments[at]), whole[at], seen[at], whole[at] if at in chosen else "") for at in range(size)]


def fates_of(batch: MaskedBatch, special: SpecialIds) -> Iterator[str]:
    """Yields "piece" for each piece of a batch, and for those to predict what became of them."""
    marks = (special.cls, special.sep, special.fill)
    yield from ("piece" for piece in original(batch).flatten().tolist() if piece not in marks)
    for piece, seen in zip(batch.targets.tolist(), batch.ids.flatten()[batch.positions].tolist(), strict=True):
        yield "mark" if piece in marks else "mask" if seen == special.mask else "same" if seen == piece else "random"


def truth(pairs: Pairs, store: Sentences) -> dict[str, int]:
    """Counts the rows whose B follows A, and those that say so, or say the contrary, and are wrong."""
    follows, adjoins = pairs.is_next, pairs.spans[:, 1] == pairs.spans[:, 2]
    same = store.document_at(pairs.spans[:, 0]) == store.document_at(pairs.spans[:, 2])
    wrong = (follows & ~(adjoins & same)) | (~follows & same)
    return {"rows": len(pairs), "follows": int(follows.sum()), "wrong": int(wrong.sum())}


@torch.no_grad()
def taken_apart(bert: Bert, batch: MaskedBatch) -> tuple[float, dict[str, float]]:
    """Computes the input of BERT from its tables; then changes what is summed, one part at a time."""
    embedding, rows = bert.embedding, zip(batch.ids.split(1), batch.segments.split(1), strict=True)
    reads = [partial(embedding, ids, segments=segments) for ids, segments in rows]
    difference = max(embedded(bert, read)[0].apart for read in reads)
    ids, states = torch.arange(bert.vocab_size)[:, None], []
    for other, *place in [(0, 0, 0), *CHANGES.values()]:
        at, segment = (torch.full_like(ids, number) for number in place)
        states.append(embedding(ids.roll(other, 0), positions=at, segments=segment))
    alike = [float(torch.cosine_similarity(states[0], changed, -1).mean()) for changed in states[1:]]
    return difference, dict(zip(CHANGES, alike, strict=True))


def check(measured: Pretraining) -> Claims:
    """Returns whether each sentence of the answer holds."""
    counts, pairs, alike = measured.counts, measured.pairs, measured.alike
    chosen = sum(counts[fate] for fate in FATES)
    return {
        "chosen": abs(chosen / counts["piece"] - 0.15) < 0.01 and counts["mark"] == 0,
        "fates": all(abs(counts[fate] / chosen - share) < 0.03 for fate, share in FATES.items()),
        "follows": abs(pairs["follows"] / pairs["rows"] - 0.5) < 0.08,
        "true": pairs["wrong"] == 0 < pairs["follows"] < pairs["rows"],
        "sum": measured.difference < 1e-5,
        "parts": all(abs(alike[name] - 2 / 3) < 0.1 for name in alike.keys() - {"all"}) and abs(alike["all"]) < 0.15,
    }


def facts(measured: Pretraining) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    counts, pairs = measured.counts, measured.pairs
    chosen = sum(counts[fate] for fate in FATES)
    texts = {fate: f"{counts[fate] / chosen:.1%}" for fate in FATES}
    texts["guess"] = texts["hidden"] = f"{counts['mask'] / counts['piece']:.1%}"
    texts |= {"chosen": f"{chosen / counts['piece']:.1%}", "follows": f"{pairs['follows'] / pairs['rows']:.1%}"}
    return texts | {name: f"{round(measured.alike[name], 2) + 0.0:.2f}" for name in ("segment", "all")}


def show(measured: Pretraining, say: Say) -> list[Part]:
    """Returns a row piece by piece, what became of the pieces, and the parts of the sum."""
    places = [(str(place), *cells) for place, cells in enumerate(measured.example)]
    columns = (f">{say('position')}", f">{say('segment')}", say("piece"), say("seen"), say("asked"))
    fates = [(say(fate), f"{measured.counts[fate]:,}", f"{share:.0%}") for fate, share in FATES.items()]
    alike = [(say(name), f"{round(cosine, 2) + 0.0:.2f}") for name, cosine in measured.alike.items()]
    return [
        Table(say("row"), columns, places),
        Table(say("fates"), (say("fate"), f">{say('count')}", f">{say('asked_for')}"), fates),
        Table(say("sums"), (say("changed"), f">{say('cosine')}"), alike),
    ]
