"""A trained translator: loads a run, translates texts and traces its decoding."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack, overload

import torch

from clearhead.arguments import checked
from clearhead.config import as_tree, parse
from clearhead.data.translation import collate_sources
from clearhead.decode.decoding import start_decoding
from clearhead.decode.search import SearchConfig
from clearhead.decode.trace import MakeMeter, trace_greedy, translation_reader
from clearhead.decode.tree import BeamTree, grow_tree
from clearhead.engine.choose import Computed, EngineName, Weights, choose
from clearhead.engine.rows import NativeModel
from clearhead.errors import DataError, OnError, attempt_each, refuse
from clearhead.ranges import Count, CountOrZero
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import Tokenizers, load_both_sides
from clearhead.tasks.family import open_for
from clearhead.tasks.loaded import Loaded
from clearhead.tasks.room import build_here
from clearhead.tasks.translation.alignment import aligned, source_shapes
from clearhead.tasks.translation.batches import batches_to_decode
from clearhead.tasks.translation.joining import finished, one_each
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.parts import Job, divided, translate_parts
from clearhead.tasks.translation.recipe import WORDS, Net, TranslationRecipe, build_translator, parse_translation
from clearhead.tasks.translation.result import EMPTY, SearchOptions, Trace, TranslateOptions, Translation
from clearhead.tasks.translation.search_rules import search_rules
from clearhead.tasks.translation.searching import Batch, search_batch, translation_of
from clearhead.text.division import Division
from clearhead.text.language import read_language
from clearhead.text.normalize import denormalize
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.phrase_book import Demand, PhraseBook, Phrases
from clearhead.text.special import SpecialIds
from clearhead.training.device import Device, pick_device


@dataclass(frozen=True)
class Translator(Loaded):
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
    ) -> "Translator":
        """Loads a run's weights (their moving average where one was kept).

        Args:
            run: a run directory.
            checkpoint: best, latest, or a checkpoint's name.
            device: see ``pick_device``.
            weights: as a CPU is to hold them for decoding; see ``choose``.
            engine: what is to decode; see ``choose``.

        Raises:
            ModelError: it is not the run of a translator, or has no checkpoint yet, or the checkpoint is damaged.
            UsageError: ``weights`` or ``engine`` is what the model or this machine cannot have.
        """
        return cls.from_run(open_for(WORDS, run, checkpoint=checkpoint), device=device, weights=weights, engine=engine)

    @classmethod
    def from_run(
        cls, run: SavedRun, *, device: Device = "auto", weights: Weights = "float32", engine: EngineName = "auto"
    ) -> "Translator":
        """Loads a run that is open; see ``load``."""
        recipe, parts = parse_translation(run.tree, run.source), load_both_sides(run.trained_path)
        target, model = pick_device(device), build_here(build_translator, recipe, parts.sizes)
        step = run.load_into(model)
        model = model.to(target).eval()
        packed = choose(model, weights, engine).engine != "torch"
        lengths = LengthLimit.read(run.path)
        return cls(recipe, parts.both, model, target, step, weights if packed else None, lengths, engine)

    @property
    def computed(self) -> Computed:
        """Which engine decodes here."""
        return "torch" if self.weights is None else choose(self.model, self.weights, self.engine).computed

    @functools.cached_property
    def writer(self) -> Net | NativeModel:
        """The model that decodes: ``model``, or what it is packed to."""
        return (None if self.weights is None else choose(self.model, self.weights, self.engine).prepare()) or self.model

    @overload
    def translate(self, texts: str, **options: Unpack[TranslateOptions]) -> Translation: ...  # type: ignore[overload-overlap]

    @overload
    def translate(self, texts: Iterable[str], **options: Unpack[TranslateOptions]) -> list[Translation]: ...

    @overload
    def translate(self, texts: str, *, n_best: int, **options: Unpack[TranslateOptions]) -> list[Translation]: ...  # type: ignore[overload-overlap]

    @overload
    def translate(
        self, texts: Iterable[str], *, n_best: int, **options: Unpack[TranslateOptions]
    ) -> list[list[Translation]]: ...

    @checked
    def translate(  # noqa: PLR0913 - all that a caller may want of a translation, by name
        self,
        texts: str | Iterable[str],
        *,
        n_best: Count | None = None,
        beam: Count = 5,
        length_penalty: float = 1.0,
        limit: CountOrZero = 0,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
        alignment: bool = False,
        on_error: OnError = refuse,
    ) -> Any:
        """Translates a text, or each of several in order, sentence by sentence, and keeps line breaks and wide spaces.

        Args:
            texts: a source text, or several of any mix of lengths; the result for a text does not depend on the others.
            n_best: return a list of so many translations of each text, best first, in place of the best one; the beam
                is at least as wide.
            beam: hypotheses per sentence; 1 is greedy.
            length_penalty: see ``SearchConfig``.
            limit: see ``SearchConfig``.
            prefix: text that every translation begins with; a text is not divided where it has several sentences.
            split: what divides a text: ``sentences`` every sentence end, ``overlong`` those of a text above the model's
                limit, ``never`` nothing.
            overlong: what happens to a sentence above it: split at clauses, else at spaces, else between characters
                (see ``cuts``), truncate (see ``dropped``) or error, as is split where nothing may divide a text.
            require: phrases that each translation must contain, or a sequence of phrases for each text; those missing
                are in ``unmet``. The beam is widened by their pieces.
            avoid: phrases that no translation may contain, likewise.
            alignment: whether to fill ``alignment``.
            on_error: called for a text that is too long under ``error`` or has a lone surrogate; its translation is
                then empty. Without it such a text is an error.

        Returns:
            For a string its translation, for anything else a list with the translation of each text.

        Raises:
            UsageError: an argument is wrong.
            DataError: a text, the prefix or a phrase cannot be used.
        """
        config = SearchConfig(max(beam, n_best or 1), n_best or 1, length_penalty, limit)
        lines = [texts] if isinstance(texts, str) else list(texts)
        ranked = self.n_best(
            lines,
            config,
            prefix=prefix,
            split=split,
            overlong=overlong,
            require=require,
            avoid=avoid,
            on_error=on_error,
        )
        if alignment:
            ranked = [[self.aligned(translation) for translation in each] for each in ranked]
        results: list[Any] = ranked if n_best else [(each or [EMPTY])[0] for each in ranked]
        return results[0] if isinstance(texts, str) else results

    @overload
    def n_best(self, texts: str, config: SearchConfig, **options: Unpack[SearchOptions]) -> list[Translation]: ...  # type: ignore[overload-overlap]

    @overload
    def n_best(
        self, texts: Iterable[str], config: SearchConfig, **options: Unpack[SearchOptions]
    ) -> list[list[Translation]]: ...

    @checked
    def n_best(
        self,
        texts: str | Iterable[str],
        config: SearchConfig,
        *,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
        on_error: OnError = refuse,
    ) -> list[Translation] | list[list[Translation]]:
        """Returns up to ``config.n_best`` translations of a text, or of each of several, best first.

        A text that ``on_error`` is called for has none.

        Those of a text with several parts are the best of all combinations of what its parts have. A required phrase
        is put into the part whose translation loses the least by it.
        """
        lines, config = (
            [texts] if isinstance(texts, str) else list(texts),
            parse(SearchConfig, as_tree(config), source="search"),
        )
        start, demands = self._prefix(prefix), [Demand()] * len(lines)
        if require or avoid:
            room = self.recipe.model.max_seq_len - len(start) - 1
            demands = self._phrases.demands(require, avoid, count=len(lines), prefix=prefix, room=room)
        divisions = attempt_each(lambda text: self._divide(text, split, overlong, prefix), lines, on_error)
        jobs = {
            number: Job(division, demand, start)
            for number, (division, demand) in enumerate(zip(divisions, demands, strict=True))
            if division
        }
        translate_parts(list(jobs.values()), functools.partial(self._decode, config))
        ranked = [
            finished(jobs[number], config.n_best, **self._sides) if number in jobs else []
            for number in range(len(lines))
        ]
        return ranked[0] if isinstance(texts, str) else ranked

    @checked
    def alternatives(
        self,
        text: str,
        count: Count = 5,
        *,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        beam: Count = 5,
        length_penalty: float = 1.0,
    ) -> list[Translation]:
        """Returns translations that differ in the first piece after ``prefix``: its ``count`` most probable ones.

        Of a text of several parts the first one has alternatives; the others are translated as usual.
        """
        division = self._divide(text, split, overlong, prefix)
        first, *others = [part.ids for part in division.parts] or [[]]
        if not first:
            return []
        start = self._prefix(prefix)
        src_ids, _ = collate_sources([first], special=self._ids)
        tgt_ids = torch.tensor([[self._ids.bos, *start]], device=self.device)
        with torch.inference_mode():
            scores = self.model(src_ids.to(self.device), tgt_ids)[:, -1:]
            limit, sentence = self._limit(len(first), len(start) + 1), torch.zeros(1, dtype=torch.long)
            for rule in search_rules(self.tokenizers.tgt, limits=[limit], device=self.device):
                rule(scores, tgt_ids[None, :, 1:], sentence.to(self.device))
        pieces = scores[0, 0].topk(min(count, int(scores.isfinite().sum()))).indices.tolist()
        prefixes = [[*start, piece] for piece in pieces if piece != self._ids.eos]
        sources = [first] * len(prefixes) + others
        config = parse(SearchConfig, {"beam": beam, "length_penalty": length_penalty}, source="search")
        searched = self._decode(config, sources, prefixes + [[] for _ in others], [Demand()] * len(sources))
        job = Job(division, Demand(), start)
        translations = []
        for ranked in searched[: len(prefixes)]:
            job.ranked = [ranked, *searched[len(prefixes) :]]
            translations += finished(job, 1, **self._sides)
        return one_each(sorted(translations, key=lambda translation: -translation.rank_score))

    @checked
    @torch.inference_mode()
    def trace(self, text: str, *, top: CountOrZero = 5, meter: MakeMeter | None = None) -> Trace:
        """Follows a text through tokenizer, encoder and every greedy decoder step; ``meter``: see ``trace_greedy``."""
        ids = self._whole(text)
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to trace")
        src_ids = collate_sources([ids], special=self._ids)[0].to(self.device)
        limit = self._limit(len(ids), 0)
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
        return Trace(text, self._line(chosen), pieces, source, source_shapes(self.model, src_ids), steps, names)

    @checked
    def beam_tree(self, text: str, config: SearchConfig) -> tuple[list[int], BeamTree]:
        """Returns the pieces of a text and every hypothesis of the search that ``n_best`` makes for it."""
        ids = self._whole(text)
        if not ids:
            raise DataError(f"text {text!r}: there is nothing to translate")
        src_ids, special = collate_sources([ids])[0].to(self.device), self._ids
        with torch.inference_mode():
            decoding = start_decoding(self.writer, src_ids, None, beam=config.beam)
        limit = self._limit(len(ids), 0, config.limit)
        tree = grow_tree(
            decoding,
            config,
            limit=limit,
            bos_id=special.bos,
            eos_id=special.eos,
            rules=search_rules(self.tokenizers.tgt, limits=[limit], device=self.device),
            text_of=self._line,
            device=self.device,
        )
        return ids, tree

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizers.tgt)

    def _prefix(self, text: str) -> list[int]:
        """Encodes what every translation begins with."""
        ids, most = self.tokenizers.tgt.encode(text), self.recipe.model.max_seq_len - 2
        if self._ids.unk in ids:
            raise DataError(f"prefix {text!r}: has characters that are not in the model's vocabulary")
        if len(ids) > most:
            raise DataError(f"prefix {text[:40]!r}: has {len(ids)} pieces, at most {most} leave room for a translation")
        return ids

    @property
    def _ids(self) -> SpecialIds:
        return self.tokenizers.tgt.ids

    def _limit(self, source: int, fixed: int, most: int = 0) -> int:
        """Most target pieces besides ``fixed`` ones: ``most``, or what suits the source, within the positions."""
        return min((most or self.lengths.pieces(source)) + fixed, self.recipe.model.max_seq_len)

    def _line(self, ids: Sequence[int]) -> str:
        """Text of target pieces on one line."""
        tokenizer = self.tokenizers.tgt
        text = denormalize(tokenizer.decode(ids), tokenizer.config.normalization)
        return text.replace("\n", " ").replace("\r", " ").strip()

    def _divide(self, text: str, split: SplitSource, overlong: OverlongSource, prefix: str = "") -> Division:
        return divided(text, self.tokenizers.src, self.recipe, split=split, overlong=overlong, prefix=prefix)

    @property
    def _sides(self) -> dict[str, Any]:
        """What ``finished`` needs to know of the two languages."""
        return {"count_unknown": self.tokenizers.src.count_unknown, "language": read_language(self.recipe.tgt)}

    def _whole(self, text: str) -> list[int]:
        """Encodes a text that must fit the model; an empty list for one of nothing but white space."""
        parts = self._divide(text, "never", "error").parts
        return parts[0].ids if parts else []

    def _decode(
        self,
        config: SearchConfig,
        sources: list[list[int]],
        prefixes: list[list[int]],
        demands: list[Demand],
    ) -> list[list[Translation]]:
        """Translates encoded sources in batches of like length; an empty one gives an empty translation."""
        translations: list[list[Translation]] = [[EMPTY]] * len(sources)
        for rows, beam in batches_to_decode(sources, demands, config.beam):
            own, forced = ([each[row] for row in rows] for each in (sources, prefixes))
            asked = [demands[row] for row in rows]
            fixed = [len(prefix) + demand.pieces for prefix, demand in zip(forced, asked, strict=True)]
            sizes = [*map(len, own)]
            limits = [self._limit(size, count, config.limit) for size, count in zip(sizes, fixed, strict=True)]
            hypotheses = search_batch(
                self.writer,
                Batch(own, forced, asked, limits),
                replace(config, beam=beam),
                tokenizer=self.tokenizers.tgt,
                text_of=self._line,
                device=self.device,
            )
            for row, ranked in zip(rows, hypotheses, strict=True):
                translations[row] = [
                    translation_of(each, sources[row], tokenizers=self.tokenizers, text=self._line(each.ids))
                    for each in ranked
                ]
        return translations

    @checked
    def aligned(self, translation: Translation) -> Translation:
        """Fills ``alignment``: for each target piece the source piece with the most attention.

        Raises ModelError if the model has no attention.
        """
        return aligned(translation, self.model, special=self._ids, device=self.device)
