"""Scores of a language model on a whole split, and what an exported one is compared on."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clearhead.data.corpora.texts import scored_texts
from clearhead.data.stream import TokenStream, prepare_stream
from clearhead.errors import DataError, UsageError
from clearhead.evaluate.language_model import LanguageModelScores, score_language_model
from clearhead.evaluate.paired import Perplexity
from clearhead.export.runtime import Row
from clearhead.runs.cache import scored_folder
from clearhead.tasks.evidence import ROOM, Evidence, first_lines, random_ids
from clearhead.tasks.family import Evaluation
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.language_model.recipe import total_loss

Scored = LanguageModel | NgramLanguageModel
PROMPT, WRITTEN = 5, 24  # pieces of a line that a greedy text begins with, and pieces that it goes on by


@dataclass(frozen=True)
class LanguageEvaluation(Evaluation):
    """All scores of one split."""

    split: str
    scores: LanguageModelScores
    context: int
    """Most pieces that a prediction looks back on."""
    stride: int
    """Targets that a window scores: each but the first ones has at least context - stride pieces before it."""
    tokens_per_second: float

    def lines(self, step: int) -> list[str]:
        """See ``Evaluation``."""
        scores = self.scores
        window = f"context {self.context}, at least {self.context - self.stride} pieces before each but the first"
        return [
            f"{self.split}: {scores.tokens:,} tokens, step {step:,}, {window}",
            f"loss             {scores.loss:8.4f}   nats per token",
            f"perplexity       {scores.perplexity:8.2f}   per token",
            f"nats a character {scores.nats_per_character:8.4f}",
            f"bits a byte      {scores.bits_per_byte:8.4f}",
            f"word perplexity  {scores.word_perplexity:8.2f}   over {scores.words:,} words and line ends",
            f"speed            {self.tokens_per_second:8.0f}   tokens per second",
        ]

    def as_dict(self) -> dict[str, Any]:
        """See ``Evaluation``."""
        tree = asdict(self)
        return {**{key: value for key, value in tree.items() if key != "scores"}, **tree["scores"]}


def read_split(model: Scored, data: Path, split: str) -> TokenStream:
    """Reads and encodes a split as the model's recipe says; see ``scored_texts``."""
    documents = scored_texts(data, split, model.recipe.data)
    return prepare_stream(documents, tokenizer=model.tokenizer, cache_dir=scored_folder())


def stride_of(context: int, stride: int | None = None) -> int:
    """Returns how many targets a window scores: half of the context where nothing is said; UsageError if too many."""
    stride = max(1, context // 2) if stride is None else stride
    if not 1 <= stride <= context:
        raise UsageError(f"stride = {stride}: must be from 1 to the model's context of {context}")
    return stride


def evaluate_language_model(model: Scored, data: Path, split: str, *, stride: int | None = None) -> LanguageEvaluation:
    """Scores every piece of a split exactly once, in windows that slide by ``stride``.

    Args:
        model: a loaded run.
        data: a text file or a folder of them.
        split: train, valid or test, as the recipe names them.
        stride: None is half of the context; an n-gram model needs no windows, its stride is 0.

    Raises:
        DataError: the text cannot be used.
        UsageError: there is no such split, or the stride is not from 1 to the context.
    """
    if isinstance(model, NgramLanguageModel):
        if stride is not None:
            raise UsageError(f"stride = {stride}: an n-gram model reads no windows, leave it out")
        context, stride = model.recipe.model.order - 1, 0
    else:
        context = model.recipe.model.max_seq_len
        stride = stride_of(context, stride)
    stream = read_split(model, data, split)
    started = time.perf_counter()
    if isinstance(model, NgramLanguageModel):
        total = model.total_loss(stream)
    else:
        total = total_loss(
            model.model,
            stream,
            stride=stride,
            batch_tokens=model.recipe.train.batch_tokens,
            isolated=model.recipe.data.packing == "isolated",
            device=model.device,
        )
    seconds = time.perf_counter() - started
    scores = score_language_model(total, stream.report)
    return LanguageEvaluation(split, scores, context, stride, len(stream) / seconds)


def language_evidence(model: LanguageModel, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
    """Returns lines of a split on which an exported model is compared; see ``LearnedFamily.evidence``.

    Each line is read alone, as the beginning of a text, and cut at ``ROOM`` pieces.
    """
    tokenizer, context = model.tokenizer, model.recipe.model.max_seq_len
    ids, texts, dropped = list[list[int]](), list[str](), 0
    if data is not None:
        texts = first_lines(scored_texts(data, split, model.recipe.data), count)
        kept = [(text, row) for text, row in zip(texts, tokenizer.encode_batch(texts), strict=True) if len(row) > 1]
        if not kept:
            raise DataError(f"data {str(data)!r}: the {split} split has no line to compare on")
        dropped = len(texts) - len(kept)
        texts, ids = [text for text, _ in kept], [row for _, row in kept]
    else:
        ids = random_ids(tokenizer.vocab_size, len(tokenizer.ids.never) + 1, context - 1)
    first = [tokenizer.begin] if model.marks else []
    read = [[*first, *row][: min(context, ROOM + len(first))] for row in ids]
    rows = [Row(row[:-1]) for row in read]
    prompts = [Row(row.ids[: PROMPT + len(first)]) for row in rows]
    return Evidence(
        rows=rows,
        ends=[tokenizer.ids.eos, *tokenizer.ends],
        never=[index for index in tokenizer.ids.never if index not in tokenizer.ends],
        metric=Perplexity() if texts else None,
        targets=[list(row[1:]) for row in read],
        prompts=prompts,
        limits=[max(1, min(WRITTEN, context - len(prompt.ids))) for prompt in prompts],
        texts=texts,
        ids=ids if texts else [],
        dropped=dropped,
    )
