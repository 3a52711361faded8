"""Several texts in the training of one language model: their documents one after another, their windows in shares."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import Int
from numpy import ndarray

from clearhead.data.corpora.mixture import counts, shares, spans
from clearhead.data.corpus import NoSplitError
from clearhead.data.documents import Documents, DocumentsConfig, Split, TextReport, read_documents, split_documents
from clearhead.data.stream import (
    TOKENIZER_CHARACTERS,
    TokenStream,
    Windows,
    chunks,
    drawn_spans,
    plan_windows,
    train_tokenizer,
    window_rows,
)
from clearhead.errors import DataError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig


class JoinedDocuments(Documents):
    """The documents of several texts, one text after another; the report counts those of each.

    Args:
        texts: by name.
        config: the recipe's table ``data``.
    """

    def __init__(self, texts: dict[str, Documents], config: DocumentsConfig) -> None:
        told = "".join(f"{name}\n{each.digest}\n" for name, each in texts.items())
        files = [file for each in texts.values() for file in each.report.files]
        marks = [mark for each in texts.values() for mark in each.report.byte_order_marks]
        report = TextReport(files, byte_order_marks=marks, digest=hashlib.sha256(told.encode()).hexdigest())
        stamps = {path: stamp for each in texts.values() for path, stamp in each.stamps.items()}
        super().__init__([], config=config, stamps=stamps, report=report)
        self.characters = sum(each.characters for each in texts.values())
        self.texts = texts

    def __iter__(self) -> Iterator[str]:
        """See ``Documents``; raises DataError too if a text has no document."""
        report = self.report = replace(self._blank_report, corpora={})
        for name, each in self.texts.items():
            for text in each:
                report.count(text)
                yield text
            report.empty += each.report.empty
            report.corpora[name] = each.report.documents
            if not each.report.documents:
                raise DataError(f"data.corpora: {name!r} has no document that is not empty")


def read_texts(data: Path, *, split: Split, config: DocumentsConfig) -> Documents:
    """Finds and checks the text of a split, of one text or of several; see ``read_documents``.

    A text without validation or test lines is left out of these splits if another has some.

    Raises:
        DataError: see ``read_documents``.
    """
    if not config.corpora:
        return read_documents(data, split=split, config=config)
    texts: dict[str, Documents] = {}
    missing: list[NoSplitError] = []
    for corpus in config.corpora:
        try:
            texts[corpus.label] = read_documents(data / corpus.path, split=split, config=replace(config, corpora=()))
        except NoSplitError as error:
            if split == "train":
                raise
            missing.append(error)
    if not texts:
        raise missing[0]
    return JoinedDocuments(texts, config)


def scored_texts(data: Path, split: str, config: DocumentsConfig) -> Documents:
    """Finds the text that a run is scored on: that of all its texts, or what ``data`` itself holds if none is there.

    Raises:
        DataError: see ``read_documents``.
        UsageError: there is no such split.
    """
    if split in get_args(Split) and any((data / corpus.path).exists() for corpus in config.corpora):
        return read_texts(data, split=cast(Split, split), config=config)
    return split_documents(data, split, replace(config, corpora=()))


def train_text_tokenizer(documents: Documents, config: TokenizerConfig) -> Tokenizer:
    """Trains a tokenizer; of several texts each gets its share of the characters, a small one by coming again."""
    if not isinstance(documents, JoinedDocuments):
        return train_tokenizer(documents, config)
    sizes = [each.characters for each in documents.texts.values()]
    whole = min(sum(sizes), TOKENIZER_CHARACTERS)
    parts = shares(sizes, documents.config.corpora, documents.config.temperature)

    def texts() -> Iterator[str]:
        for each, size, part in zip(documents.texts.values(), sizes, parts, strict=True):
            count = round(part * whole)
            for number, text in enumerate(text for document in each for text in chunks(document)):
                # rounded up, so that the first part of a text is always taken
                yield from [text] * (-(-(number + 1) * count // size) - -(-number * count // size))

    return Tokenizer.train(texts(), config)


@dataclass(frozen=True)
class TextMixture:
    """Where each of several texts stands in a stream, and how much of it an epoch has."""

    stream: TokenStream
    config: DocumentsConfig

    @cached_property
    def regions(self) -> Int[ndarray, "texts 2"]:
        """Begin and end of each text in the stream."""
        documents = np.cumsum([0, *self.stream.report.corpora.values()])
        borders = np.append(self.stream.starts, len(self.stream))[documents]
        return np.stack([borders[:-1], borders[1:]], axis=1)

    @property
    def counts(self) -> list[int]:
        """Pieces of each text in an epoch."""
        sizes = [int(end - begin) for begin, end in self.regions]
        return counts(sizes, self.config.corpora, self.config.temperature)

    def windows(self, *, context: int, batch_tokens: int, seed: int, epoch: int) -> Windows:
        """Plans one epoch, as ``training_windows`` does for one text.

        A text is read in passes, whose windows begin at other places each time and come in an order of their own, from
        (seed, number of the text, number of the pass); an epoch goes on where the one before has ended. So no window of
        a pass comes before all windows of the pass before it have come.

        Raises:
            UsageError: not even one window fits the budget.
        """
        rows = window_rows(context, batch_tokens)
        parts = []
        for number, (count, (begin, end)) in enumerate(zip(self.counts, self.regions.tolist(), strict=True)):
            for turn, first, last, whole in spans(end - begin, count, epoch):
                rng = np.random.default_rng([seed, number, turn])
                all_of_pass = rng.permutation(begin + drawn_spans(end - begin, context, rng))
                parts.append(all_of_pass[first * len(all_of_pass) // whole : last * len(all_of_pass) // whole])
        chosen = np.concatenate(parts)
        order = np.random.default_rng(np.random.SeedSequence([seed, epoch])).permutation(len(chosen))
        plan = plan_windows(chosen, order, context=context, rows=rows, seed=seed, epoch=epoch)
        return Windows(self.stream, chosen, plan, self.config.packing == "isolated")

    def lines(self) -> list[str]:
        """See ``Report``."""
        text = self.stream.report.lines()
        for name, tree in self._shares().items():
            rate = tree["tokens_an_epoch"] / tree["tokens"]
            drawn = f"{tree['tokens_an_epoch']:,} tokens an epoch, each {rate:.3g} times: {tree['share']:.1%} of all"
            text.append(f"  {name}: {tree['documents']:,} documents, {tree['tokens']:,} tokens; {drawn}")
        return text

    def as_dict(self) -> dict[str, Any]:
        """See ``Report``."""
        return {**self.stream.report.as_dict(), "mixture": self._shares()}

    def _shares(self) -> dict[str, dict[str, Any]]:
        whole, documents = sum(self.counts), self.stream.report.corpora
        return {
            name: {
                "documents": documents[name],
                "tokens": int(end - begin),
                "tokens_an_epoch": count,
                "share": round(count / whole, 6),
            }
            for name, count, (begin, end) in zip(documents, self.counts, self.regions, strict=True)
        }
