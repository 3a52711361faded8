"""A trained translator: loads a run, translates texts and traces its decoding."""

import functools
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.config import parse
from clearhead.data.corpora.context import CONTEXT
from clearhead.data.translation import collate_sources
from clearhead.decode.decoding import start_decoding
from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.trace import MakeMeter, TraceStep, trace_greedy, translation_reader
from clearhead.decode.tree import BeamTree, grow_tree
from clearhead.engine.choose import EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.errors import DataError
from clearhead.ranges import Count, CountOrZero
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import Tokenizers, load_both_sides
from clearhead.tasks.family import open_for
from clearhead.tasks.loaded import Loaded, native_of, prepared
from clearhead.tasks.packed import Packing, about_run
from clearhead.tasks.room import build_to_load
from clearhead.tasks.translation.alignment import aligned, source_shapes
from clearhead.tasks.translation.corpora.directions import tag_in
from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.tasks.translation.documents.preceding import before_each
from clearhead.tasks.translation.joining import finished, one_each
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.parts import Job
from clearhead.tasks.translation.recipe import WORDS, Net, TranslationRecipe, build_translator, parse_translation
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search.native import carried_out
from clearhead.tasks.translation.search.search_rules import search_rules
from clearhead.tasks.translation.search.shortlist import FILE, Shortlist, read_shortlist, wanted
from clearhead.tasks.translation.texts import TextTranslator
from clearhead.tasks.translation.trust.confidence import FILE as CONFIDENCE
from clearhead.tasks.translation.trust.confidence import Calibrated, Calibration, read_calibration
from clearhead.text.language import read_language
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.phrase_book import Demand
from clearhead.text.special import ABSENT
from clearhead.training.device import Device, pick_device


@dataclass(frozen=True)
class Trace(Brief):
    """One sentence followed through the model."""

    text: str
    translation: str
    source_pieces: list[str]
    source_ids: list[int]
    shapes: dict[str, list[int]]
    """The output shapes of the embedding and each encoder layer, and the shapes of the decoder's inputs."""
    steps: list[TraceStep]
    pieces: dict[int, str]
    """Readable form of every target id in ``steps``."""


@dataclass(frozen=True)
class Translator(Loaded, TextTranslator):
    """A model with its tokenizers, ready to translate; see ``load``."""

    recipe: TranslationRecipe
    tokenizers: Tokenizers
    model: Net
    device: torch.device
    step: int = 0
    """Training step of the weights."""
    weights: Weights | None = None
    """How a CPU holds them for decoding, in a packed copy that the first text makes; None takes ``model`` itself."""
    lengths: LengthLimit = field(default_factory=LengthLimit)
    """How long translations may be."""
    engine: EngineName = "auto"
    """What decodes on a CPU."""
    packing: Any = None
    """Where the native engine's weights are kept, a ``Packing``; None: in memory alone."""
    shortlist: Shortlist | None = None
    """Which pieces may translate a source; None: all may."""
    calibration: Calibrated = None
    """What its log-probabilities say of a translation; None: nobody has measured it."""

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
        shortlist: bool = False,
    ) -> "Translator":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them for decoding; see ``choose``.
            engine: what is to decode; see ``choose``.
            shortlist: whether a translation has none but the pieces that the run's shortlist has for its source; then
                log-probabilities are over these. ``alternatives`` and ``trace`` look at all pieces.

        Raises:
            ModelError: it is not the run of a translator, or has no checkpoint yet, or the checkpoint is damaged; or it
                has no shortlist.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        opened = open_for(WORDS, run, checkpoint=checkpoint)
        return cls.from_run(opened, device=device, weights=weights, engine=engine, shortlist=shortlist)

    @classmethod
    def from_run(
        cls,
        run: SavedRun,
        *,
        device: Device = "auto",
        weights: Weights = "float32",
        engine: EngineName = "auto",
        shortlist: bool = False,
    ) -> "Translator":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_translation(run.tree, run.source), load_both_sides(run.trained_path)
        target, model = pick_device(device), build_to_load(build_translator, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        computes = choose(model, weights, engine).engine
        lengths = LengthLimit.read(run.path)
        ways = directions_of(recipe, parts.both)
        facts: dict[str, Any] = {"sides": asdict(ways[0]), "lengths": asdict(lengths)}
        facts |= {"directions": [asdict(way) for way in ways]} if len(ways) > 1 else {}
        about = about_run("translation", recipe, step, **facts)
        kept = read_shortlist(run.path, parts.both)
        calibration = read_calibration(run.path)
        files = parts.contents() | ({} if kept is None else {FILE: kept.content()})
        files |= {CONFIDENCE: calibration.content()} if isinstance(calibration, Calibration) else {}
        packing = Packing.of(run, model, weights if computes == "native" else None, about, files)
        packed = None if computes == "torch" else weights
        asked = wanted(kept, run.path) if shortlist else None
        return cls(recipe, parts.both, model, target, step, packed, lengths, engine, packing, asked, calibration)

    @functools.cached_property
    def directions(self) -> tuple[Sides, ...]:
        """See ``TextTranslator``."""
        return directions_of(self.recipe, self.tokenizers)

    @functools.cached_property
    def writer(self) -> Net | NativeModel:
        """The model that decodes: ``model``, or what it is packed to."""
        return prepared(self.model, self.weights, self.engine, self.packing)

    @property
    def _engine_model(self) -> NativeModel | None:
        """See ``NativeUser``."""
        return native_of(self.writer)

    @checked
    def alternatives(
        self,
        text: str,
        count: Count = 5,
        *,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        context: str = "",
        beam: Count = 5,
        length_penalty: float = 1.0,
    ) -> list[Translation]:
        """Returns translations that differ in the first piece after ``prefix``: its ``count`` most probable ones.

        Of a text of several parts the first one has alternatives; the others are translated as usual.
        """
        (before,) = before_each([text], context, self.sides)
        division = self._divide(text, before, split=split, overlong=overlong, prefix=prefix)
        first, *others = [part.ids for part in division.parts] or [[]]
        if not first:
            return []
        start = self._prefix(prefix)
        src_ids, _ = collate_sources([first], special=self._ids)
        tgt_ids = torch.tensor([[self._ids.bos, *start]], device=self.device)
        with torch.inference_mode():
            scores = self.model(src_ids.to(self.device), tgt_ids)[:, -1:]
            limit, sentence = (
                self._limit(len(self.sides.alone(first)), len(start) + 1),
                torch.zeros(1, dtype=torch.long),
            )
            for rule in search_rules(self.tokenizers.tgt, limits=[limit], device=self.device):
                rule(scores, tgt_ids[None, :, 1:], sentence.to(self.device))
        pieces = scores[0, 0].topk(min(count, int(scores.isfinite().sum()))).indices.tolist()
        prefixes = [[*start, piece] for piece in pieces if piece != self._ids.eos]
        sources = [first] * len(prefixes) + others
        config = parse(SearchConfig, {"beam": beam, "length_penalty": length_penalty}, source="search")
        decoding = self._decoding(config, sources, prefixes + [[] for _ in others], [Demand()] * len(sources))
        searched = carried_out(decoding, self.search)
        job = Job(division, Demand(), start)
        translations = []
        for ranked in searched[: len(prefixes)]:
            job.ranked = [ranked, *searched[len(prefixes) :]]
            translations += finished(job, 1, **self._joining)
        return one_each(sorted(translations, key=lambda translation: -translation.rank_score))

    def _whole(self, text: str, context: str) -> list[int]:
        """Encodes a text that must fit the model; an empty list for one of nothing but white space."""
        (before,) = before_each([text], context, self.sides)
        parts = self._divide(text, before, split="never", overlong="error").parts
        return parts[0].ids if parts else []

    @checked
    @torch.inference_mode()
    def trace(self, text: str, *, top: CountOrZero = 5, context: str = "", meter: MakeMeter | None = None) -> Trace:
        """Follows a text through tokenizer, encoder and every greedy decoder step.

        Args:
            text: what is translated.
            top: most probable pieces of each step.
            context: what stands before it, where the model reads that.
            meter: see ``trace_greedy``.
        """
        ids = self._whole(text, context)
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to trace")
        src_ids = collate_sources([ids], special=self._ids)[0].to(self.device)
        limit = self._limit(len(self.sides.alone(ids)), 0)
        rules = search_rules(self.tokenizers.tgt, limits=[limit], device=self.device)
        steps = trace_greedy(
            translation_reader(self.model, src_ids, limit=limit),
            [self._ids.bos],
            limit=limit,
            ends=[self._ids.eos],
            rules=rules,
            top=top,
            meter=meter,
        )
        used = {i for step in steps for i in [step.chosen, *step.input_ids, *(piece for piece, _ in step.top)]}
        names = dict(zip(sorted(used), self.tokenizers.tgt.pieces(sorted(used)), strict=True))
        chosen = [step.chosen for step in steps if step.chosen != self._ids.eos]
        source = src_ids[0].tolist()
        pieces = self.tokenizers.src.pieces(source)
        return Trace(text, self.text_of(chosen), pieces, source, source_shapes(self.model, src_ids), steps, names)

    @checked
    def beam_tree(self, text: str, config: SearchConfig, *, context: str = "") -> tuple[list[int], BeamTree]:
        """Returns the pieces of a text and every hypothesis of the search that ``n_best`` makes for it."""
        ids = self._whole(text, context)
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to translate")
        src_ids, special = collate_sources([ids])[0].to(self.device), self._ids
        with torch.inference_mode():
            decoding = start_decoding(self.writer, src_ids, None, beam=config.beam)
        limit = self._limit(len(self.sides.alone(ids)), 0, config.limit)
        tree = grow_tree(
            decoding,
            config,
            limit=limit,
            bos_id=special.bos,
            eos_id=special.eos,
            rules=search_rules(self.tokenizers.tgt, limits=[limit], device=self.device),
            text_of=self.text_of,
            device=self.device,
        )
        return ids, tree

    @checked
    def aligned(self, translation: Translation) -> Translation:
        """Fills ``alignment``: for each target piece the source piece with the most attention.

        Raises ModelError if the model has no attention.
        """
        return aligned(translation, self.model, special=self._ids, device=self.device)


def directions_of(recipe: TranslationRecipe, tokenizers: Tokenizers) -> tuple[Sides, ...]:
    """Returns the directions of a recipe, and how much of a text its model reads and writes at a time."""
    sizes = recipe.data.max_len, recipe.model.max_seq_len
    context = tokenizers.src.marks[CONTEXT] if recipe.data.context else ABSENT
    return tuple(
        Sides(read_language(src), read_language(tgt), *sizes, tag_in(tokenizers, tgt), context)
        for src, tgt in recipe.directions
    )
