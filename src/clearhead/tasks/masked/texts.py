"""Texts with gaps to the pieces that fill them, and texts to vectors, whatever holds the model; no torch."""

import functools
import itertools
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.data.segments import marks
from clearhead.errors import DataError, ModelError, OnError, attempt_each, refuse
from clearhead.models.embedding import EmbeddingConfig
from clearhead.progress import silent
from clearhead.ranges import Count
from clearhead.tasks.masked.native import Ranked, Rows, mask_logits, ranked, text_vectors
from clearhead.tasks.native import NativeUser
from clearhead.text.overlong import OverlongText
from clearhead.text.special import ABSENT, MASK
from clearhead.text.tokenizer import Tokenizer

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Candidate(Brief):
    """A prediction for a mask."""

    piece: str
    """The piece in readable form: a space is ``▁``."""
    id: int
    probability: float
    text: str
    """The text with the piece in place of this mask; other masks stay."""


@dataclass(frozen=True)
class Filled(Brief):
    """The predictions for the masks of a text."""

    prompt: str
    """The input text."""
    text: str
    """The text with the most probable piece at every mask; each is predicted while the other masks stay."""
    masks: list[list[Candidate]]
    """The most probable pieces for each mask, best first."""


class TextFiller(NativeUser):
    """What fills gaps and embeds texts: a tokenizer, a model that reads, and how long texts may be."""

    tokenizer: Tokenizer

    @property
    @abstractmethod
    def longest(self) -> int:
        """Most pieces and marks of a text, ``model.max_seq_len``."""

    @property
    @abstractmethod
    def d_model(self) -> int:
        """Features of a vector."""

    @property
    @abstractmethod
    def embedding(self) -> EmbeddingConfig:
        """How a vector is made of a text's states."""

    @overload
    def fill(self, texts: str, *, top_k: int = 5, on_error: OnError = refuse) -> Filled: ...  # type: ignore[overload-overlap]

    @overload
    def fill(self, texts: Iterable[str], *, top_k: int = 5, on_error: OnError = refuse) -> list[Filled]: ...

    @checked
    def fill(
        self, texts: str | Iterable[str], *, top_k: Count = 5, on_error: OnError = refuse
    ) -> Filled | list[Filled]:
        """Predicts the piece at each ``[MASK]`` (or the tokenizer's own name for it) of a text, or of each of several.

        A mask stands for one piece, of whole characters. A space before it is part of that piece, as in pieces that
        begin a word.

        Args:
            texts: each with one mask or more, and at most ``model.max_seq_len`` pieces and marks.
            top_k: candidates for each mask, at most the pieces of whole characters.
            on_error: called for a text that has no mask, is too long or has a lone surrogate, which then has no masks
                in the result; without it such a text is an error.

        Returns:
            For a string its predictions, for anything else a list with those of each text.

        Raises:
            DataError: a text cannot be filled, and there is no ``on_error``.
            UsageError: ``top_k`` is below 1, or ``texts`` is no text.
            ModelError: the tokenizer has no mask.
        """
        mask = self.tokenizer.ids.mask
        if isinstance(texts, str):
            return self.fill([texts], top_k=top_k, on_error=on_error)[0]
        texts = list(texts)
        if mask == ABSENT:
            raise ModelError("tokenizer has no [MASK]: train it with tokenizer.specials = 'masked'")
        characters = self.tokenizer.characters
        partial = (np.zeros(0, bool) if characters is None else ~characters.whole).nonzero()[0]
        count = min(top_k, self.tokenizer.vocab_size - len(partial))
        read = attempt_each(self._read, texts, on_error)
        filled = [Filled(text, text, []) for text in texts]
        for numbers, best, counts in self._at_masks([pair[1] if pair else None for pair in read], count, partial):
            ends = [*itertools.accumulate(counts)]
            for number, first, last in zip(numbers, [0, *ends[:-1]], ends, strict=True):
                filled[number] = self._filled(texts[number], read[number][0], best[first:last])  # type: ignore[index]
        return filled

    @checked
    def embed(
        self,
        texts: str | Iterable[str],
        *,
        overlong: OverlongText = "error",
        on_cut: Callable[[int, int], object] = silent,
        on_error: OnError = refuse,
    ) -> Vectors:
        """Returns a vector for a text, or for each of several, made of its last hidden states as ``embedding`` says.

        The default is the mean of all states, including those of [CLS] and [SEP]: the mean pooling of
        sentence-transformers (Reimers and Gurevych 2019, arXiv:1908.10084).

        Args:
            texts: of any mix of lengths; an empty text consists of [CLS] and [SEP].
            overlong: what happens to a text of more than ``embedding.max_seq_len`` pieces and marks, or where that is
                unset ``model.max_seq_len``: ``error``, or ``truncate``, which leaves out its last pieces.
            on_cut: called with the number of a truncated text and how many of its pieces were left out.
            on_error: called for a text that is too long under ``error`` or has a lone surrogate, whose vector is then
                NaN; without it such a text is an error.

        Returns:
            For a string [d_model], for anything else [texts, d_model], in their order; in float32.

        Raises:
            DataError: a text has no vector, and there is no ``on_error``.
            UsageError: an argument is wrong.
        """
        if isinstance(texts, str):
            return self.embed([texts], overlong=overlong, on_cut=on_cut, on_error=on_error)[0]
        (key, limit), texts = self.embedding.longest(self.longest), list(texts)
        room = limit - marks(pair=False)

        def encoded(text: str) -> list[int]:
            row = self._row(text) if self.tokenizer.splits else self.tokenizer.encode(text)
            return self._fitting(text, row, key, limit) if overlong == "error" else row

        rows = attempt_each(encoded, texts, on_error)
        for number, row in enumerate(rows):
            if row is not None and len(row) > room:
                end = self.tokenizer.border(row, room)
                on_cut(number, len(row) - end)
                del row[end:]
        vectors = np.full((len(texts), self.d_model), np.nan, np.float32)
        for numbers, found in self._vectors(rows):
            vectors[numbers] = found
        return vectors

    def _at_masks(
        self, rows: Rows, count: int, never: NDArray[np.int64]
    ) -> Iterator[tuple[list[int], Ranked, list[int]]]:
        """Yields the numbers of rows, the best pieces at their masks in order, and how many masks each row has.

        Args:
            rows: ids of each text, without marks.
            count: pieces for a mask.
            never: those that are none of them.
        """
        assert self._native is not None
        for numbers, logits, counts in mask_logits(self._native, rows, self.tokenizer.ids, threads=self.threads):
            yield numbers, ranked(logits, count, never), counts

    def _vectors(self, rows: Rows) -> Iterator[tuple[list[int], Vectors]]:
        """Yields the numbers of rows, and the vector of each."""
        assert self._native is not None
        yield from text_vectors(self._native, rows, self.tokenizer.ids, self.embedding, threads=self.threads)

    def _read(self, text: str) -> tuple[list[str], list[int]]:
        """Returns a text cut at its masks, and its ids."""
        parts, mask = self._part(text), self.tokenizer.piece(self.tokenizer.ids.mask)
        row = self._row(mask.join(parts))
        return parts, self._fitting(text, row, "model.max_seq_len", self.longest)

    @functools.cached_property
    def _special(self) -> dict[str, int]:
        """The names of the special pieces, and their ids."""
        return {self.tokenizer.piece(index): index for index in vars(self.tokenizer.ids).values() if index != ABSENT}

    @functools.cached_property
    def _names(self) -> re.Pattern[str]:
        longest = sorted(self._special, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, longest))})")

    def _part(self, text: str) -> list[str]:
        """Cuts a text at its masks."""
        name = self.tokenizer.piece(self.tokenizer.ids.mask)
        parts = re.split(f"{re.escape(MASK)}|{re.escape(name)}", text)
        if len(parts) == 1:
            raise DataError(f"text {text[:40]!r}: has no [MASK], so there is nothing to fill")
        return parts

    def _row(self, text: str) -> list[int]:
        """Returns the ids of a text and of the special pieces that it names."""
        mask, parts, row = self.tokenizer.ids.mask, self._names.split(text), list[int]()
        for number, part in enumerate(parts):
            if number % 2:
                row.append(self._special[part])
                continue
            after = self._special.get(parts[number + 1]) if number + 1 < len(parts) else None
            takes_space = after == mask and self.tokenizer.config.kind != "char"  # where a space is a piece of its own
            plain = part.removesuffix(" ") if takes_space else part
            row += self.tokenizer.encode_batch([plain], inside=number > 0)[0]
        return row

    @staticmethod
    def _fitting(text: str, row: list[int], key: str, limit: int) -> list[int]:
        """Returns ``row``, the ids of ``text``; raises DataError if they are more than ``limit`` takes."""
        if (length := len(row) + marks(pair=False)) > limit:
            raise DataError(f"text {text[:40]!r}: {length} pieces and marks, more than {key} = {limit}")
        return row

    def _filled(self, text: str, parts: list[str], best: Ranked) -> Filled:
        masks = []
        for number, pairs in enumerate(best, 1):
            before, after = MASK.join(parts[:number]), MASK.join(parts[number:])
            masks.append(
                [
                    Candidate(self.tokenizer.pieces([index])[0], index, share, self._joined(before, index) + after)
                    for index, share in pairs
                ]
            )
        likely = parts[0]
        for pairs, part in zip(best, parts[1:], strict=True):
            likely = self._joined(likely, pairs[0][0]) + part
        return Filled(text, likely, masks)

    def _joined(self, before: str, index: int) -> str:
        """Appends a piece to the text before its mask; a space at the end of that text belongs to the piece."""
        piece = self.tokenizer.spelling(index).decode("utf-8", "replace")
        if self.tokenizer.config.kind == "char" or not (before and piece):
            return before + (piece if before else piece.removeprefix(" "))
        if not piece.startswith(" "):
            return before.removesuffix(" ") + piece
        spaced = before.endswith(" ") or not self._sees_spaces
        return before + piece[spaced:]

    @property
    def _sees_spaces(self) -> bool:
        """Whether the tokenizer encodes spaces as parts of pieces, or only splits at them."""
        return self.tokenizer.encode("a ") != self.tokenizer.encode("a")
