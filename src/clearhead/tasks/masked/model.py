"""A trained masked language model: loads a run, predicts masked pieces, and embeds texts."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from clearhead.data.batching import sequential_batches
from clearhead.data.segments import check_marks, collate_segments, marks
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.models.bert import BertPretraining, mean_of
from clearhead.progress import silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.family import open_for
from clearhead.tasks.masked.recipe import WORDS, MaskedRecipe, build_masked, parse_masked
from clearhead.text.overlong import OverlongText
from clearhead.text.special import ABSENT, MASK
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import pick_device

BATCH_TOKENS = 4096  # pieces and marks, padding included, that are read at once


@dataclass(frozen=True)
class Candidate:
    """A prediction for a mask."""

    piece: str
    """The piece in readable form: a space is ``▁``."""
    id: int
    probability: float
    text: str
    """The text with the piece in place of this mask; other masks stay."""


@dataclass(frozen=True)
class Filled:
    """The predictions for the masks of a text."""

    prompt: str
    """The input text."""
    text: str
    """The text with the most probable piece at every mask; each is predicted while the other masks stay."""
    masks: list[list[Candidate]]
    """The most probable pieces for each mask, best first."""


@dataclass(frozen=True)
class MaskedModel:
    """A BERT with its tokenizer; see ``load``."""

    recipe: MaskedRecipe
    tokenizer: Tokenizer
    model: BertPretraining
    device: torch.device
    step: int = 0
    """Training step of the weights."""

    @classmethod
    def load(cls, run: Path, *, checkpoint: str = "best", device: str = "auto") -> "MaskedModel":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.

        Raises:
            ModelError: it is not the run of a masked language model, or has no checkpoint yet, or a damaged one.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device)

    @classmethod
    def from_run(cls, run: SavedRun, *, device: str = "auto") -> "MaskedModel":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_masked(run.tree, run.source), load_text_parts(run.trained_path)
        target = pick_device(device)
        check_marks(parts.tokenizer.ids)
        model = build_masked(recipe, parts.sizes)
        step = run.load_into(model)
        return cls(recipe, parts.tokenizer, model.to(target).eval(), target, step)

    @torch.inference_mode()
    def fill(self, texts: Sequence[str], *, top_k: int = 5) -> list[Filled]:
        """Predicts the piece at each ``[MASK]`` (or the tokenizer's own name for it) of each text.

        A mask stands for one piece, of whole characters. A space before it is part of that piece, as in pieces that
        begin a word.

        Args:
            texts: each with one mask or more, and at most ``model.max_seq_len`` pieces and marks.
            top_k: candidates for each mask, at most the pieces of whole characters.

        Raises:
            DataError: a text has no mask, is too long or has a lone surrogate.
            UsageError: ``top_k`` is below 1.
            ModelError: the tokenizer has no mask.
        """
        mask = self.tokenizer.ids.mask
        if top_k < 1:
            raise UsageError(f"top_k = {top_k}: must be at least 1")
        if mask == ABSENT:
            raise ModelError("tokenizer has no [MASK]: train it with tokenizer.specials = 'masked'")
        parted = [self._part(text) for text in texts]
        rows = [self._row(parts, mask) for parts in parted]
        for text, row in zip(texts, rows, strict=True):
            self._check_length(text, row)
        characters = self.tokenizer.characters
        parts_of_characters = [] if characters is None else (~characters.whole).nonzero()[0].tolist()
        partial = torch.tensor(parts_of_characters, dtype=torch.long, device=self.device)
        filled: list[Filled] = [Filled("", "", [])] * len(texts)
        for numbers, ids, real in self._batches(rows):
            hidden = ids == mask
            states = self.model.bert(ids, mask=real)[hidden]
            shares = self.model.mlm_head(states).float().softmax(dim=1).index_fill(1, partial, -1.0)
            top = shares.topk(min(top_k, self.tokenizer.vocab_size - len(partial)))
            probabilities, pieces = (values.tolist() for values in top)
            ends = hidden.sum(dim=1).cumsum(dim=0).tolist()
            for number, first, last in zip(numbers, [0, *ends[:-1]], ends, strict=True):
                ranked = [list(zip(pieces[at], probabilities[at], strict=True)) for at in range(first, last)]
                filled[number] = self._filled(texts[number], parted[number], ranked)
        return filled

    @torch.inference_mode()
    def embed(
        self,
        texts: Sequence[str],
        *,
        overlong: OverlongText = "error",
        on_cut: Callable[[int, int], object] = silent,
    ) -> Float[ndarray, "texts d_model"]:
        """Returns a vector for each text: the mean of its last hidden states, including those of [CLS] and [SEP].

        This is the mean pooling of sentence-transformers (Reimers and Gurevych 2019, arXiv:1908.10084).

        Args:
            texts: of any mix of lengths; an empty text consists of [CLS] and [SEP].
            overlong: what happens to a text of more than ``model.max_seq_len`` pieces and marks: ``error``, or
                ``truncate``, which leaves out its last pieces.
            on_cut: called with the number of a truncated text and how many of its pieces were left out.

        Returns:
            [texts, d_model] in float32, in the order of the texts.

        Raises:
            DataError: a text is too long under ``error``, or has a lone surrogate.
        """
        rows, room = self.tokenizer.encode_batch(texts), self.recipe.model.max_seq_len - marks(pair=False)
        for number, row in enumerate(rows):
            if overlong == "error":
                self._check_length(texts[number], row)
            elif len(row) > room:
                on_cut(number, len(row) - room)
                del row[room:]
        vectors = np.zeros((len(texts), self.recipe.model.d_model), np.float32)
        for numbers, ids, real in self._batches(rows):
            states = self.model.bert(ids, mask=real).float()  # batch seq d_model
            vectors[numbers] = mean_of(states, real).cpu().numpy()
        return vectors

    def _part(self, text: str) -> list[str]:
        """Cuts a text at its masks."""
        name = self.tokenizer.piece(self.tokenizer.ids.mask)
        parts = re.split(f"{re.escape(MASK)}|{re.escape(name)}", text)
        if len(parts) == 1:
            raise DataError(f"text {text[:40]!r}: has no [MASK], so there is nothing to fill")
        return parts

    def _row(self, parts: list[str], mask: int) -> list[int]:
        """Returns the ids of parts with a mask between them."""
        last = len(parts) - 1
        if self.tokenizer.config.kind != "char":  # where a space is a piece of its own
            parts = [part.removesuffix(" ") if number < last else part for number, part in enumerate(parts)]
        (row,) = self.tokenizer.encode_batch(parts[:1])
        for ids in self.tokenizer.encode_batch(parts[1:], inside=True):
            row += [mask, *ids]
        return row

    def _check_length(self, text: str, row: list[int]) -> None:
        length, limit = len(row) + marks(pair=False), self.recipe.model.max_seq_len
        if length > limit:
            raise DataError(f"text {text[:40]!r}: {length} pieces and marks, more than model.max_seq_len = {limit}")

    def _batches(self, rows: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], Tensor, Bool[Tensor, "batch seq"]]]:
        """Yields the numbers of rows of like length with their ids, marks included, and which are real."""
        plan = sequential_batches(np.array([len(row) + 1 for row in rows], np.int64), batch_tokens=BATCH_TOKENS)
        for numbers in (plan[index].tolist() for index in range(len(plan))):
            laid = collate_segments([rows[number] for number in numbers], None, special=self.tokenizer.ids)
            yield numbers, torch.from_numpy(laid.ids).to(self.device), torch.from_numpy(laid.mask).to(self.device)

    def _filled(self, text: str, parts: list[str], ranked: list[list[tuple[int, float]]]) -> Filled:
        masks = []
        for number, pairs in enumerate(ranked, 1):
            before, after = MASK.join(parts[:number]), MASK.join(parts[number:])
            masks.append(
                [
                    Candidate(self.tokenizer.pieces([index])[0], index, share, self._joined(before, index) + after)
                    for index, share in pairs
                ]
            )
        best = parts[0]
        for pairs, part in zip(ranked, parts[1:], strict=True):
            best = self._joined(best, pairs[0][0]) + part
        return Filled(text, best, masks)

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
