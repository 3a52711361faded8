"""A trained masked language model: loads a run, predicts masked pieces, and embeds texts."""

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.data.batching import sequential_batches
from clearhead.data.segments import check_marks, collate_segments, marks
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.errors import DataError, ModelError, OnError, attempt_each, refuse
from clearhead.models.bert import BertPretraining
from clearhead.models.pooling import pooled
from clearhead.progress import silent
from clearhead.ranges import Count
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import load_text_parts
from clearhead.tasks.family import open_for
from clearhead.tasks.loaded import Loaded
from clearhead.tasks.masked.native import mask_logits, text_vectors
from clearhead.tasks.masked.recipe import WORDS, MaskedRecipe, build_masked, parse_masked
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_here
from clearhead.text.overlong import OverlongText
from clearhead.text.special import ABSENT, MASK
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import Device, pick_device

BATCH_TOKENS = 4096  # pieces and marks, padding included, that are read at once


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


@dataclass(frozen=True)
class MaskedModel(Loaded):
    """A BERT with its tokenizer; see ``load``."""

    recipe: MaskedRecipe
    tokenizer: Tokenizer
    model: BertPretraining
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    weights: Weights | None = None
    """How a CPU holds them for the native engine, in a packed copy that the first text makes; None: ``model`` reads."""
    packing: Packing | None = None
    """Where the native engine's weights are kept; None: in memory alone."""

    @classmethod
    @checked
    def load(
        cls,
        run: str | Path,
        *,
        checkpoint: str = "best",
        device: Device = "auto",
        weights: Weights = "float32",
        engine: EngineName = "auto",
    ) -> "MaskedModel":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them for reading texts; see ``choose``.
            engine: what is to read texts; see ``choose``.

        Raises:
            ModelError: it is not the run of a masked language model, or has no checkpoint yet, or a damaged one.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device, weights=weights, engine=engine)

    @classmethod
    def from_run(
        cls, run: SavedRun, *, device: Device = "auto", weights: Weights = "float32", engine: EngineName = "auto"
    ) -> "MaskedModel":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_masked(run.tree, run.source), load_text_parts(run.trained_path)
        target = pick_device(device)
        check_marks(parts.tokenizer.ids)
        model = build_here(build_masked, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        native = weights if choose(model, weights, engine).engine == "native" else None
        facts = {"longest": recipe.model.max_seq_len, "embedding": asdict(recipe.embedding)}
        packing = Packing.of(run, model, native, about_run("masked", recipe, step, **facts), parts.contents())
        return cls(recipe, parts.tokenizer, model, target, step, native, packing)

    @functools.cached_property
    def reader(self) -> BertPretraining | NativeModel:
        """The model that reads texts: ``model``, or what it is packed to."""
        if self.weights is None:
            return self.model
        choice = choose(self.model, self.weights, "native")
        return (choice.prepare(self.packing.image) if self.packing else choice.prepare()) or self.model

    @overload
    def fill(self, texts: str, *, top_k: int = 5, on_error: OnError = refuse) -> Filled: ...  # type: ignore[overload-overlap]

    @overload
    def fill(self, texts: Iterable[str], *, top_k: int = 5, on_error: OnError = refuse) -> list[Filled]: ...

    @checked
    @torch.inference_mode()
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
        parts_of_characters = [] if characters is None else (~characters.whole).nonzero()[0].tolist()
        partial = torch.tensor(parts_of_characters, dtype=torch.long, device=self.device)
        read = attempt_each(self._read, texts, on_error)
        filled = [Filled(text, text, []) for text in texts]
        for numbers, logits, counts in self._at_masks([pair[1] if pair else None for pair in read]):
            shares = logits.softmax(dim=1).index_fill(1, partial, -1.0)
            top = shares.topk(min(top_k, self.tokenizer.vocab_size - len(partial)))
            probabilities, pieces = (values.tolist() for values in top)
            ends = [*itertools.accumulate(counts)]
            for number, first, last in zip(numbers, [0, *ends[:-1]], ends, strict=True):
                ranked = [list(zip(pieces[at], probabilities[at], strict=True)) for at in range(first, last)]
                filled[number] = self._filled(texts[number], read[number][0], ranked)  # type: ignore[index]
        return filled

    @checked
    @torch.inference_mode()
    def embed(
        self,
        texts: str | Iterable[str],
        *,
        overlong: OverlongText = "error",
        on_cut: Callable[[int, int], object] = silent,
        on_error: OnError = refuse,
    ) -> Float[ndarray, "*texts d_model"]:
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
        (key, limit), texts = self._longest_embedded(), list(texts)
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
        vectors = np.full((len(texts), self.recipe.model.d_model), np.nan, np.float32)
        for numbers, found in self._vectors(rows):
            vectors[numbers] = found
        return vectors

    def _at_masks(
        self, rows: Sequence[Sequence[int] | None]
    ) -> Iterator[tuple[list[int], Float[Tensor, "masks vocab"], list[int]]]:
        """Yields the numbers of rows, the logits at their masks in order, and how many masks each row has."""
        model, special = self.reader, self.tokenizer.ids
        if isinstance(model, NativeModel):
            for numbers, logits, counts in mask_logits(model, rows, special, threads=torch.get_num_threads()):
                yield numbers, torch.from_numpy(logits), counts
            return
        for numbers, ids, real in self._batches(rows):
            hidden = ids == special.mask
            states = model.bert(ids, mask=real)[hidden]
            yield numbers, model.mlm_head(states).float(), hidden.sum(dim=1).tolist()

    def _vectors(
        self, rows: Sequence[Sequence[int] | None]
    ) -> Iterator[tuple[list[int], Float[ndarray, "texts d_model"]]]:
        """Yields the numbers of rows, and the vector of each."""
        model, config = self.reader, self.recipe.embedding
        if isinstance(model, NativeModel):
            yield from text_vectors(
                model,
                rows,
                self.tokenizer.ids,
                pooling=config.pooling,
                normalize=config.normalize,
                threads=torch.get_num_threads(),
            )
            return
        for numbers, ids, real in self._batches(rows):
            states = model.bert(ids, mask=real).float()  # batch seq d_model
            yield numbers, pooled(states, real, config).cpu().numpy()

    def _read(self, text: str) -> tuple[list[str], list[int]]:
        """Returns a text cut at its masks, and its ids."""
        parts, mask = self._part(text), self.tokenizer.piece(self.tokenizer.ids.mask)
        row = self._row(mask.join(parts))
        return parts, self._fitting(text, row, "model.max_seq_len", self.recipe.model.max_seq_len)

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

    def _longest_embedded(self) -> tuple[str, int]:
        """Returns the recipe key that limits the length of a text for a vector, and the limit."""
        own, limit = self.recipe.embedding.max_seq_len, self.recipe.model.max_seq_len
        return ("model.max_seq_len", limit) if own is None or own >= limit else ("embedding.max_seq_len", own)

    @staticmethod
    def _fitting(text: str, row: list[int], key: str, limit: int) -> list[int]:
        """Returns ``row``, the ids of ``text``; raises DataError if they are more than ``limit`` takes."""
        if (length := len(row) + marks(pair=False)) > limit:
            raise DataError(f"text {text[:40]!r}: {length} pieces and marks, more than {key} = {limit}")
        return row

    def _batches(
        self, rows: Sequence[Sequence[int] | None]
    ) -> Iterator[tuple[list[int], Tensor, Bool[Tensor, "batch seq"]]]:
        """Yields the numbers of rows of like length, their ids, marks included, and which are real; None is no row."""
        given = [(number, row) for number, row in enumerate(rows) if row is not None]
        plan = sequential_batches(np.array([len(row) + 1 for _, row in given], np.int64), batch_tokens=BATCH_TOKENS)
        for batch in (plan[index].tolist() for index in range(len(plan))):
            laid = collate_segments([given[at][1] for at in batch], None, special=self.tokenizer.ids)
            numbers = [given[at][0] for at in batch]
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
