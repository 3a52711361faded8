"""A trained neural language model: load a run, continue prompts, say how probable a text is."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from clearhead.arguments import checked
from clearhead.decode.graphed.rows import start_texts
from clearhead.decode.rows import TextRows
from clearhead.engine.choose import EngineName, Weights, choose, native_fault
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.pages import release, trim
from clearhead.models.gpt import GPT
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import TextParts, load_text_parts
from clearhead.tasks.family import open_for
from clearhead.tasks.language_model.recipe import (
    WORDS,
    LanguageModelRecipe,
    Net,
    build_language_model,
    parse_language_model,
)
from clearhead.tasks.language_model.stepped import SteppedModel
from clearhead.tasks.language_model.writer import has_marks
from clearhead.tasks.loaded import native_of, prepared
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_to_load
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.device import Device, pick_device

LOGITS = 128  # positions of a text whose logits are there at once


@dataclass(frozen=True)
class LanguageModel(SteppedModel):
    """A GPT or a recurrent model with its tokenizer, ready to write; see ``load``."""

    recipe: LanguageModelRecipe
    tokenizer: Tokenizer
    model: Net
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    marks: bool = True
    """Whether it has seen where documents begin: then a prompt begins one."""
    weights: Weights | None = None
    """How a CPU holds them for generation, in a packed copy that the first text makes; None takes ``model`` itself."""
    engine: EngineName = "auto"
    """What generates on a CPU."""
    packing: Any = None
    """Where the native engine's weights are kept, a ``Packing``; None: in memory alone."""

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
    ) -> "LanguageModel":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them. bfloat16 reads half of the bytes for each piece, int8 a quarter, int4 an
                eighth; the texts differ a little, with int4 more. See ``choose``.
            engine: what is to generate; see ``choose``.

        Raises:
            ModelError: not the run of a language model, no checkpoint yet, or a damaged one.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device, weights=weights, engine=engine)

    @classmethod
    def from_run(
        cls, run: SavedRun, *, device: Device = "auto", weights: Weights = "float32", engine: EngineName = "auto"
    ) -> "LanguageModel":
        """Loads a run that is open; see ``load``."""
        recipe, tokenizer = parse_language_model(run.tree, run.source), load_text_parts(run.trained_path).tokenizer
        target, model = pick_device(device), build_to_load(build_language_model, recipe, TextParts(tokenizer).sizes)
        # the native engine packs weights of its own; of a model with LoRA it is known once that is merged
        step = run.load_into(model, mapped=engine != "torch" and not native_fault(model.to(target).eval()))
        model = model.to(target).eval()
        computes = choose(model, weights, engine).engine
        marks = tokenizer.begins or has_marks(run.path)
        about = about_run("language_model", recipe, step, context=recipe.model.max_seq_len, marks=marks)
        kept = weights if computes == "native" else None
        packing = Packing.of(run, model, kept, about, TextParts(tokenizer).contents())
        packed = None if computes == "torch" else weights
        return cls(recipe, tokenizer, model, target, step, marks, packed, engine, packing)

    @property
    def context(self) -> int | None:
        """See ``TextModel``: a recurrent model goes on from its state, whatever the length."""
        return self.recipe.model.max_seq_len if isinstance(self.model, GPT) else None

    @functools.cached_property
    def writer(self) -> Net | NativeModel:
        """The model that generates: ``model``, or what it is packed to."""
        return prepared(self.model, self.weights, self.engine, self.packing, self._release)

    @property
    def _engine_model(self) -> NativeModel | None:
        """See ``NativeUser``."""
        return native_of(self.writer)

    def begin(self, prompts: Sequence[Sequence[int]]) -> TextRows:
        """See ``TextModel``."""
        return start_texts(self.writer, prompts)

    def _release(self) -> None:
        """Gives back the memory of weights that are read from a mapped file, and can be read again."""
        for weight in self.model.parameters():
            release(weight.data_ptr(), weight.nbytes)
        trim()

    @checked
    @torch.inference_mode()
    def log_probs(self, text: str) -> list[float]:
        """See ``TextModel``: of a GPT a piece sees at least half a context before it, as far as there is one."""
        ids = torch.tensor([self.tokenizer.begin, *self.tokenizer.encode(text)], device=self.device)
        model, context, last, scored = self.model, self.recipe.model.max_seq_len, len(ids) - 1, list[float]()
        state = None if isinstance(model, GPT) else model.new_cache(1)  # which knows all that was read
        while (done := len(scored)) < last:
            begin = max(0, done - context // 2) if state is None else done
            end = min(begin + context, last)
            part = ids[None, begin:end]
            hidden = model.hidden(part) if isinstance(model, GPT) else model.hidden(part, cache=state)
            states = hidden[0, done - begin :]
            for few, targets in zip(states.split(LOGITS), ids[done + 1 : end + 1].split(LOGITS), strict=True):
                loss = functional.cross_entropy(model.lm_head(few).float(), targets, reduction="none")
                scored += (-loss).tolist()
        return scored
