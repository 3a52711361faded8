"""A trained run opened to be looked into, whatever its family: its model, and what that is called with."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.checkpoint import load_checkpoint, load_model_tensors
from clearhead.data.labelled_batches import LabelledBatch
from clearhead.data.masked import MaskedBatch
from clearhead.data.segments import collate_segments
from clearhead.data.stream import StreamBatch
from clearhead.data.translation import Batch, collate
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.optim.build import RateOf, build_optimizers, same_rate
from clearhead.runs.pointers import find_checkpoint
from clearhead.tasks.classify import recipe as classify
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model import recipe as language_model
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.ngram import NgramLanguageModel
from clearhead.tasks.masked import recipe as masked
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation import recipe as translation
from clearhead.tasks.translation.translator import Translator
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.job import Progress
from clearhead.training.precision import Precision
from clearhead.training.state import TrainState
from clearhead.verbs.load import load

Trained = Translator | LanguageModel | MaskedModel | Classifier
TrainingBatch = Batch | StreamBatch | MaskedBatch | LabelledBatch
HIDE_EVERY = 7  # of the pieces of a BERT's row: about the 15 % of its training


@dataclass(frozen=True)
class Shape:
    """How large a batch of random pieces is, where there is no text."""

    rows: int = 2
    length: int = 32
    """Pieces of a row, as far as the model has room."""

    @classmethod
    def parse(cls, text: str) -> "Shape":
        """Reads ``ROWSxLENGTH``.

        Raises:
            UsageError: it is something else.
        """
        rows, _, length = text.lower().partition("x")
        if not (rows.isdecimal() and length.isdecimal() and int(rows) and int(length) > 1):
            raise UsageError(f"--batch {text!r}: must be ROWSxLENGTH, for example 2x32, with rows of 2 pieces or more")
        return cls(int(rows), int(length))


@dataclass(frozen=True)
class Opened:
    """A run with everything that a view may need."""

    run: Path
    trained: Trained
    checkpoint: Path
    """Its directory."""
    text: str | None = None
    """What the model reads; None: random pieces."""
    shape: Shape = Shape()
    progress: Progress = lambda done, total: None
    """Called by a view that takes long, with how much is done and of how much."""

    @classmethod
    def open(
        cls,
        run: Path,
        text: str | None = None,
        *,
        shape: Shape | None = None,
        progress: Progress = lambda done, total: None,
        checkpoint: str,
        device: str,
    ) -> "Opened":
        """Loads a run; arguments as in ``pipeline.load``.

        Raises:
            DataError: the text is empty.
            ModelError: see ``load``; or the run has no weights.
        """
        if text is not None and not text.strip():
            raise DataError("text '': is empty")
        trained = load(run, checkpoint=checkpoint, device=device)
        if isinstance(trained, NgramLanguageModel):
            raise ModelError(f"run {str(run)!r}: an n-gram model has counts and no modules to look into")
        path = find_checkpoint(run, checkpoint)
        assert path is not None  # which load has found
        return cls(run, trained, path, text, shape or Shape(), progress)

    @property
    def model(self) -> nn.Module:
        """In evaluation mode."""
        return self.trained.model

    @property
    def recipe(self) -> Any:
        """Its tables ``optim`` and ``train`` are those of every task."""
        return self.trained.recipe

    @cached_property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @cached_property
    def batch(self) -> TrainingBatch:
        """One batch as in training: of the text, or of random pieces that do not change from call to call.

        Raises:
            DataError: the text has more pieces than the model has room for.
        """
        with torch.inference_mode(False):  # since autograd refuses what was made inside of it
            match self.trained:
                case Translator():
                    return self._translation(self.trained).to(self.device)
                case LanguageModel():
                    return self._stream(self.trained).to(self.device)
                case MaskedModel():
                    return self._masked(self.trained).to(self.device)
                case Classifier():
                    return self._labelled(self.trained).to(self.device)

    @property
    def inputs(self) -> dict[str, Tensor]:
        """What the model's ``forward`` takes by name."""
        match self.batch:
            case Batch(src_ids=src_ids, tgt_ids=tgt_ids, src_mask=mask):
                return {"src_ids": src_ids, "tgt_ids": tgt_ids} | ({} if mask is None else {"src_mask": mask})
            case StreamBatch(ids=ids):
                return {"ids": ids}
            case MaskedBatch(ids=ids, segments=segments, mask=mask, positions=positions):
                at = torch.zeros(ids.numel(), dtype=torch.bool, device=ids.device).index_fill(0, positions, True)
                return {"ids": ids, "mask": mask, "segments": segments, "at": at.view_as(ids)}
            case LabelledBatch(ids=ids, segments=segments, mask=mask):
                return {"ids": ids, "mask": mask, "segments": segments}

    @property
    def tokens(self) -> int:
        """Positions that the model reads: of an encoder-decoder on both sides."""
        names = ("src_ids", "tgt_ids", "ids")
        return sum(tensor.numel() for name, tensor in self.inputs.items() if name in names)

    def learner(self, *, with_state: bool) -> TrainState:
        """Returns the run as its training would go on: the weights before any average and merge, with the optimizers.

        Args:
            with_state: whether the optimizers have the state of the checkpoint, as far as it has one.
        """
        rates: RateOf = same_rate
        model: nn.Module
        match self.trained:
            case Translator(recipe=recipe, tokenizers=tokenizers):
                model = translation.build_model(recipe, tokenizers)
            case LanguageModel(recipe=recipe, tokenizer=tokenizer):
                model = language_model.build_net(recipe, tokenizer)
            case MaskedModel(recipe=recipe, tokenizer=tokenizer):
                model = masked.build_masked(recipe, tokenizer)
            case Classifier(recipe=recipe, tokenizer=tokenizer, labels=labels):
                model, rates = classify.build_classifier(recipe, tokenizer, labels), classify.rate_of(recipe)
        saved = load_checkpoint(self.checkpoint, ("model", "optimizer") if with_state else ("model",))
        load_model_tensors(model, saved.tensors["model"], str(self.checkpoint))
        model.to(self.device)
        state = TrainState(model, build_optimizers(model, self.recipe.optim, self.recipe.train.lr, rates))
        state.step = int(saved.state["step"])
        slots = dict(saved.tensors.get("optimizer", {}))
        slots.pop("ema/updates", None)
        state.optimizers.load_state_tensors(slots)
        return state

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss of training, on ``model`` as it is."""
        recipe: Any = self.recipe
        with Precision(recipe.train.precision, self.device.type).autocast():
            total, count = self._loss(model, batch, recipe)
        return total / count

    def _loss(self, model: nn.Module, batch: Any, recipe: Any) -> tuple[Tensor, int]:
        match self.trained, batch:
            case Translator(), Batch():
                return translation.batch_loss(model, batch, recipe.loss)  # type: ignore[arg-type]
            case LanguageModel(), StreamBatch():
                return language_model.batch_loss(model, batch, recipe.loss)  # type: ignore[arg-type]
            case MaskedModel(), MaskedBatch():
                return masked.batch_loss(model, batch, recipe.loss)  # type: ignore[arg-type]
            case Classifier(labels=labels), LabelledBatch():
                return classify.Objective(labels).loss_of(model, batch)
            case _:
                raise AssertionError(type(batch))

    def rows(self, tokenizer: Tokenizer, marks: int, *, draw: int = 0) -> list[list[int]]:
        """Encodes the text, or draws rows of random pieces; ``marks`` positions of the model are left free."""
        room = (int(self.recipe.model.max_seq_len) - marks) // (2 if self.paired else 1)
        if self.text is None:
            generator = torch.Generator().manual_seed(draw)
            size = (self.shape.rows, max(min(self.shape.length, room), 1))
            first = min(len(tokenizer.ids.never) + 1, tokenizer.vocab_size - 1)
            return torch.randint(first, tokenizer.vocab_size, size, generator=generator).tolist()
        rows = tokenizer.encode_batch(self.text.split("\t") if self.paired else [self.text])
        if max(map(len, rows)) > room:
            raise DataError(f"text {self.text[:40]!r}: has {max(map(len, rows))} pieces, the model has room for {room}")
        return rows

    @property
    def paired(self) -> bool:
        """Whether a text is two, with a tab between them."""
        if not isinstance(self.trained, Classifier):
            return False
        pairs = self.trained.labels.pairs  # a model from elsewhere may leave it open
        return "\t" in (self.text or "") if pairs is None else pairs

    def _translation(self, trained: Translator) -> Batch:
        """The target of a text is what the model makes of it."""
        sources = self.rows(trained.tokenizers.src, 1)
        if self.text is None:
            return collate(sources, self.rows(trained.tokenizers.tgt, 1, draw=1), special=trained.tokenizers.tgt.ids)
        found = trained.translate([self.text], beam=1, overlong="error")[0]
        targets = found.target_ids[: -1 if found.complete else None]
        return collate(sources, [targets], special=trained.tokenizers.tgt.ids)

    def _stream(self, trained: LanguageModel) -> StreamBatch:
        rows = self.rows(trained.tokenizer, 0)
        ids = torch.tensor([[trained.tokenizer.begin, *row] for row in rows])
        return StreamBatch(ids[:, :-1], ids[:, 1:], ids[:, 1:].numel())

    def _masked(self, trained: MaskedModel) -> MaskedBatch:
        """Every seventh piece is hidden, which is about the share of training."""
        special = trained.tokenizer.ids
        laid = collate_segments(self.rows(trained.tokenizer, 2), None, special=special)
        ids = torch.from_numpy(laid.ids)
        places = torch.from_numpy(laid.text).flatten().nonzero()[:, 0]
        positions = places[min(HIDE_EVERY // 2, len(places) - 1) :: HIDE_EVERY]
        targets = ids.flatten()[positions]
        return MaskedBatch(
            ids=ids.flatten().index_fill(0, positions, special.mask).view_as(ids),
            segments=torch.from_numpy(laid.segments),
            mask=torch.from_numpy(laid.mask),
            positions=positions,
            targets=targets,
            next_labels=None if trained.model.nsp_head is None else torch.ones(len(ids), dtype=torch.long),
            target_count=len(targets),
        )

    def _labelled(self, trained: Classifier) -> LabelledBatch:
        """All rows are of the first class, or of the mean."""
        rows, second = self.rows(trained.tokenizer, 3), None
        if self.paired and self.text is None:
            second = self.rows(trained.tokenizer, 3, draw=1)
        elif self.paired:
            rows, second = rows[:1], rows[1:2] or rows
        laid = collate_segments(rows, second, special=trained.tokenizer.ids)
        count = len(rows)
        labels = (
            torch.zeros(count, dtype=torch.long)
            if trained.labels.classes
            else torch.full((count,), trained.labels.mean)
        )
        ids, segments, mask = (torch.from_numpy(part) for part in (laid.ids, laid.segments, laid.mask))
        return LabelledBatch(ids, segments, mask, labels, torch.arange(count), count)
