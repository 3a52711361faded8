"""Language models side by side: of any vocabularies, by what each stretch of the text costs them, and by position."""

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch.nn import functional

from clearhead.data.corpora.texts import scored_texts
from clearhead.data.documents import TextReport
from clearhead.data.loading import load
from clearhead.data.stream import TokenStream, chunks, evaluation_windows
from clearhead.evaluate.language_model import LanguageModelScores, score_language_model
from clearhead.evaluate.paired import Counts, Metric
from clearhead.tasks.family import ComparedScores
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.scoring import Scored, read_split, stride_of
from clearhead.text.special import NO_TARGET

POSITION_WINDOW = 64  # pieces that each model reads from nothing, for the loss by position
BORDERS = (0, 4, 16, POSITION_WINDOW)  # pieces read, between which the loss by position is a mean
DECODED = 128  # pieces of the text that a language model is timed on
FEWEST_DOCUMENTS = 30  # of a text whose documents are what is drawn for an interval
STRETCH = 2000  # characters of a stretch, at least, that is drawn in place of a document
ROWS = 512  # targets whose logits are in memory at a time
Rate = Literal["bits a byte", "nats a character", "word perplexity"]
RATES: Mapping[Rate, Callable[[LanguageModelScores], float]] = {
    "bits a byte": lambda scores: scores.bits_per_byte,
    "nats a character": lambda scores: scores.nats_per_character,
    "word perplexity": lambda scores: scores.word_perplexity,
}
"""The scores that do not depend on the vocabulary."""


class TextRate(Metric):
    """A score of a text, whatever the vocabulary; a stretch of it counts its loss in nats, bytes, characters, words."""

    unit, most_loss = "points", 0.005

    def __init__(self, name: Rate) -> None:
        self.name: Rate = name

    def score(self, counts: Counts) -> float:
        """See ``Metric``."""
        loss, *sizes = counts.sum(axis=0).tolist()
        size, characters, words = map(int, sizes)
        report = TextReport([], tokens=1, bytes=size, characters=characters, words=words)
        return RATES[self.name](score_language_model(loss, report))


def compare_language_model(model: Scored, data: Path, split: str) -> ComparedScores:
    """Scores a split by what language models with other vocabularies can be compared by, and times one text.

    Intervals are of documents, or of stretches of the text where it has few (``stretches``).
    """
    stream = read_split(model, data, split)
    losses = piece_losses(model, stream)
    scores = score_language_model(float(losses.sum()), stream.report)
    compared: dict[str, float | None] = {name: rate(scores) for name, rate in RATES.items()}
    by_position = loss_by_position(model, stream)
    for below, last in pairwise(BORDERS):
        part = by_position[below:last]
        compared[f"loss, piece {below + 1} to {last}"] = float(part.mean()) if len(part) else None
    found = stretches(model, stream, data, split)
    counts: dict[str, tuple[Metric, Counts]] = {}
    if found is not None:
        starts, sizes = found
        each = np.column_stack([np.add.reduceat(losses, starts), sizes])
        counts = {name: (TextRate(name), each) for name in RATES}
    return ComparedScores(compared, _generated_per_second(model), counts)


def stretches(
    model: Scored, stream: TokenStream, data: Path, split: str
) -> tuple[Int[ndarray, " stretches"], Float[ndarray, "stretches 3"]] | None:
    """Returns where in the stream each stretch of its text begins, and its bytes, characters and words.

    A stretch is a document, or a part of one where the text has few documents; it is the same text for every model.
    None if the pieces of a model cannot be told apart by stretches: one may reach over a border.
    """
    documents, starts = list(scored_texts(data, split, model.recipe.data)), stream.starts
    if len(documents) < FEWEST_DOCUMENTS:
        parts = [list(chunks(document, STRETCH)) for document in documents]
        lengths = [[len(row) for row in model.tokenizer.encode_batch(part)] for part in parts]
        ends = np.append(starts[1:], len(stream)) - (len(documents) > 1)  # an end mark follows each document
        if [sum(row) for row in lengths] != (ends - starts).tolist() or not all(map(all, lengths)):
            return None
        places = [start + np.cumsum([0, *row[:-1]]) for start, row in zip(starts, lengths, strict=True)]
        documents, starts = [text for part in parts for text in part], np.concatenate(places)
    sizes = np.zeros((len(documents), 3))
    for row, text in zip(sizes, documents, strict=True):
        report = TextReport([])
        report.count(text)
        row[:] = report.bytes, report.characters, report.words + report.line_feeds
    return starts, sizes


@torch.inference_mode()
def piece_losses(model: Scored, stream: TokenStream) -> Float[ndarray, " pieces"]:
    """Returns the loss of every piece of a stream in nats, in windows as ``evaluate_language_model`` has them."""
    isolated = model.recipe.data.packing == "isolated"
    if isinstance(model, NgramLanguageModel):
        return -model.model.log_probs(stream.ids, stream.starts if isolated else None)
    context, net = model.recipe.model.max_seq_len, model.model
    budget, losses = model.recipe.train.batch_tokens, np.zeros(len(stream))
    windows = evaluation_windows(
        stream, context=context, stride=stride_of(context), batch_tokens=budget, isolated=isolated
    )
    for number, batch in enumerate(load(windows)):
        rows = batch.to(model.device)
        hidden = net.hidden(rows.ids, mask=rows.real if net.needs_mask else None)
        counted = rows.targets.ne(NO_TARGET)
        found = [
            functional.cross_entropy(net.lm_head(states).float(), targets, reduction="none")
            for states, targets in zip(hidden[counted].split(ROWS), rows.targets[counted].split(ROWS), strict=True)
        ]
        spans = windows.spans[windows.plan[number]]
        places = np.concatenate([np.arange(first, end) for _, first, end in spans])
        losses[places] = torch.cat(found).cpu().numpy()
    return losses


def _generated_per_second(model: Scored) -> float:
    model.generate([""], GenerationConfig(max_new=4))  # the first calls start threads and pack the weights
    started = time.perf_counter()
    (text,) = model.generate([""], GenerationConfig(max_new=DECODED, min_length=DECODED))
    return len(text.ids) / (time.perf_counter() - started)


def loss_by_position(model: Scored, stream: TokenStream, *, width: int = POSITION_WINDOW) -> Float[ndarray, " window"]:
    """Mean loss of a piece after 1, 2, 3, ... pieces, in nats: what more context is worth to a model.

    The stream is read in windows of ``width`` pieces, each from nothing but the piece before it; what does not fill
    the last one is left out. A model of shorter context reads shorter windows.
    """
    if isinstance(model, LanguageModel):
        width = min(width, model.recipe.model.max_seq_len)
    count = len(stream) // width
    ids = np.append(stream.begin, stream.ids[: count * width]).astype(np.int64)
    windows = ids[np.arange(count)[:, None] * width + np.arange(width + 1)]
    return _window_losses(model, windows).mean(axis=0)


@torch.inference_mode()
def _window_losses(model: Scored, windows: Int[ndarray, "count width_and_one"]) -> Float[ndarray, "count width"]:
    if isinstance(model, NgramLanguageModel):
        starts = np.arange(0, windows.size, windows.shape[1])
        return -model.model.log_probs(windows.flatten(), starts).reshape(windows.shape)[:, 1:]
    parts = []
    for part in torch.from_numpy(windows).split(max(1, model.recipe.train.batch_tokens // windows.shape[1])):
        ids = part.to(model.device)
        logits = model.model(ids[:, :-1]).float()  # count width vocab
        losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        parts.append(losses.view(len(ids), -1).cpu())
    return torch.cat(parts).numpy()
