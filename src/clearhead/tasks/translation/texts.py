"""Texts to translations, sentence by sentence, whatever holds the model; no torch until a search needs its steps."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Unpack, overload

from clearhead.arguments import checked
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.streaming import lasting
from clearhead.engine.loops.drawing import draw_translations
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import DataError, ModelError, OnError, UsageError, attempt_each, refuse
from clearhead.ranges import Count, CountOrZero
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.settings import settled
from clearhead.tasks.translation.corpora.directions import Directed
from clearhead.tasks.translation.documents.preceding import Context, before_each
from clearhead.tasks.translation.joining import finished
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.parts import Job, divided, draw_parts, translate_parts
from clearhead.tasks.translation.result import EMPTY, SearchOptions, TranslateOptions, Translation
from clearhead.tasks.translation.search.batches import BATCH_TOKENS, NATIVE_TOKENS, batches_to_decode
from clearhead.tasks.translation.search.native import (
    Batch,
    Searching,
    carried_out,
    drawn_hypothesis,
    draws_of,
    search_natively,
    translation_of,
)
from clearhead.tasks.translation.search.shortlist import Pieces, Shortlist
from clearhead.tasks.translation.trust.confidence import Calibrated, usable
from clearhead.text.division import Division
from clearhead.text.glossary.glossary import Glossary, GlossaryLike, glossary_of
from clearhead.text.normalize import denormalize, unchanged
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.phrase_book import Demand, PhraseBook, Phrases
from clearhead.text.special import SpecialIds


class TextTranslator(Directed):
    """What translates texts: two tokenizers, a model that decodes, and how long translations may be."""

    tokenizers: Tokenizers
    lengths: LengthLimit
    device: Any
    """PyTorch's, of a search by steps."""
    shortlist: Shortlist | None
    """Which pieces may translate a source; None: all may."""
    calibration: Calibrated
    """What its log-probabilities say of a translation; None: nobody has measured it."""
    step: int
    """Training step of the weights."""

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
        glossary: GlossaryLike | None = None,
        context: Context = "",
        alignment: bool = False,
        confidence: bool = False,
        on_error: OnError = refuse,
    ) -> Any:
        """Translates a text, or each of several in order, sentence by sentence, and keeps line breaks and wide spaces.

        Args:
            texts: a source text, or several of any mix of lengths; the result for a text does not depend on the others.
            n_best: return a list of so many translations of each text, best first; the beam is at least as wide.
            beam: hypotheses per sentence; 1 is greedy.
            length_penalty: see ``SearchConfig``.
            limit: see ``SearchConfig``.
            prefix: text that every translation begins with; a text is not divided where it has several sentences.
            split: what divides a text: ``sentences`` every sentence end, ``overlong`` those of a text above the model's
                limit, ``never`` nothing.
            overlong: what happens to a sentence above it: split at clauses, else at spaces, else between characters
                (see ``cuts``), truncate (see ``dropped``) or error, as is split where nothing may divide a text.
            require: phrases that each translation must contain, or those for each text; missing ones are in ``unmet``.
            avoid: phrases that no translation may contain, likewise.
            glossary: targets to require where their sources occur, a ``Glossary``, a mapping or the path of a file.
            context: what stands before the first text, for a model that reads the line before; before each other text
                stands the one in front of it, nothing if that ends in a blank line. A list has what stands before each.
            alignment: whether to fill ``alignment``.
            confidence: whether to fill ``confidence``, by what ``clearhead calibrate`` has learned.
            on_error: called for a text that is too long under ``error`` or has a lone surrogate; its translation is
                then empty. Without it such a text is an error.

        Returns:
            For a string its translation, for anything else a list with the translation of each text.

        Raises:
            UsageError: an argument is wrong.
            DataError: a text, the prefix, a phrase or an entry cannot be used.
            ModelError: the model has no attention to align by, or no calibration of these weights.
        """
        if confidence:
            usable(self.calibration, self.step)
        config = SearchConfig(max(beam, n_best or 1), n_best or 1, length_penalty, limit)
        lines = [texts] if isinstance(texts, str) else list(texts)
        options: SearchOptions = {"prefix": prefix, "split": split, "overlong": overlong, "require": require}
        options |= {"avoid": avoid, "glossary": glossary, "context": context, "on_error": on_error}
        wanted = [*[self.aligned] * alignment, *[self.rated] * confidence]
        ranked = [[_through(wanted, one) for one in each] for each in self.n_best(lines, config, **options)]
        results: list[Any] = ranked if n_best else [(each or [EMPTY])[0] for each in ranked]
        return results[0] if isinstance(texts, str) else results

    @overload
    def n_best(self, texts: str, config: SearchConfig, **options: Unpack[SearchOptions]) -> list[Translation]: ...  # type: ignore[overload-overlap]

    @overload
    def n_best(
        self, texts: Iterable[str], config: SearchConfig, **options: Unpack[SearchOptions]
    ) -> list[list[Translation]]: ...

    @checked
    def n_best(  # noqa: PLR0913 - as ``translate``
        self,
        texts: str | Iterable[str],
        config: SearchConfig,
        *,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
        glossary: GlossaryLike | None = None,
        context: Context = "",
        on_error: OnError = refuse,
    ) -> list[Translation] | list[list[Translation]]:
        """Returns up to ``config.n_best`` translations of a text, or of each of several, best first.

        A text that ``on_error`` is called for has none. Those of a text with several parts are the best of all
        combinations of what its parts have. A required phrase is put into the part whose translation loses the least.
        """
        lines = [texts] if isinstance(texts, str) else list(texts)
        options: Any = {"prefix": prefix, "split": split, "overlong": overlong, "require": require, "avoid": avoid}
        options |= {"glossary": glossary_of(glossary), "context": context}
        config = settled(config, source="search")
        ranked = carried_out(self.translating(lines, config, **options, on_error=on_error), self.search)
        return ranked[0] if isinstance(texts, str) else ranked

    def translating(  # noqa: PLR0913 - as ``n_best``
        self,
        texts: list[str],
        config: SearchConfig,
        *,
        prefix: str = "",
        split: SplitSource = "sentences",
        overlong: OverlongSource = "split",
        require: Phrases = (),
        avoid: Phrases = (),
        glossary: Glossary | None = None,
        context: Context = "",
        on_error: OnError = refuse,
        on_divided: Callable[[list[Division]], object] | None = None,
    ) -> Searching[list[list[Translation]]]:
        """Does what ``n_best`` does for several texts, and leaves the searches to who goes through it: a server.

        Arguments are not checked here. ``on_divided`` is told how the texts are divided, before they are searched for.
        """
        start, demands = self._prefix(prefix), [Demand()] * len(texts)
        room = self.sides.positions - len(start) - 1
        if require or avoid:
            demands = self._phrases.demands(require, avoid, count=len(texts), prefix=prefix, room=room)
        contexts = before_each(texts, context, self.sides)
        divisions = self._divide_each(texts, contexts, on_error, split=split, overlong=overlong, prefix=prefix)
        jobs = {
            number: Job(division, demand, start)
            for number, (division, demand) in enumerate(zip(divisions, demands, strict=True))
            if division
        }
        if glossary is not None:
            for number, job in jobs.items():
                job.ask(texts[number], glossary, self._phrases, room)
        if on_divided is not None:
            on_divided([job.division for job in jobs.values()])
        yield from translate_parts(list(jobs.values()), functools.partial(self._decoding, config))
        return [
            finished(jobs[number], config.n_best, **self._joining) if number in jobs else []
            for number in range(len(texts))
        ]

    @checked
    def sample(
        self,
        texts: Iterable[str],
        config: SamplingConfig,
        *,
        numbers: Sequence[int] = (),
        context: Context = "",
        on_error: OnError = refuse,
    ) -> list[Translation]:
        """Draws a translation of each text piece by piece, where ``translate`` searches for the most probable one.

        A text is divided where it is above the model's limit alone. Shortlists are not looked at.

        Args:
            texts: source texts.
            config: temperature, which pieces may be drawn, and the seed.
            numbers: of each text, which with the seed decides what is drawn for it; empty: counted from 0.
            context: see ``translate``.
            on_error: likewise.
        """
        lines = list(texts)
        if len(numbers or lines) != len(lines):
            raise UsageError(f"numbers: {len(numbers)} for {len(lines)} texts; must be one for each")
        config = settled(config, source="sampling")
        contexts = before_each(lines, context, self.sides)
        divisions = self._divide_each(lines, contexts, on_error, split="overlong", overlong="split")
        jobs = [Job(division, Demand(), []) if division else None for division in divisions]
        numbered = [(job, number) for job, number in zip(jobs, numbers or range(len(jobs)), strict=True) if job]
        draw_parts(numbered, functools.partial(self._drawn, config))
        return [finished(job, 1, **self._joining)[0] if job else EMPTY for job in jobs]

    def _drawn(
        self, config: SamplingConfig, sources: list[list[int]], numbers: list[tuple[int, int]]
    ) -> list[Translation]:
        """Draws a translation of each encoded source, which has the number of its text and of its part."""
        limits = [self._limit(len(self.sides.alone(ids)), 0) for ids in sources]
        draws = draws_of(sources, numbers, config, tokenizers=self.tokenizers, limits=limits)
        if (model := self._engine_model) is not None:
            texts = draw_translations(model, draws, bos_id=self._ids.bos, threads=self.threads)
        else:
            from clearhead.tasks.translation.search.drawing import draw_by_steps

            texts = draw_by_steps(self.writer, draws, tokenizer=self.tokenizers.tgt, device=self.device)
        return [
            self._translation(hypothesis, ids)
            for hypothesis, ids in zip(map(drawn_hypothesis, texts), sources, strict=True)
        ]

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizers.tgt)

    def _prefix(self, text: str) -> list[int]:
        """Encodes what every translation begins with."""
        ids, most = self.tokenizers.tgt.encode(text), self.sides.positions - 2
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
        return min((most or self.lengths.pieces(source)) + fixed, self.sides.positions)

    def text_of(self, ids: Sequence[int]) -> str:
        """Text of target pieces on one line."""
        return self._restored(self.tokenizers.tgt.decode(ids))

    def settled_text(self, ids: Sequence[int]) -> str:
        """What of the text of target pieces stays as it is, whatever pieces follow them."""
        tokenizer = self.tokenizers.tgt
        return self._restored(unchanged(lasting(tokenizer.decode(ids)), tokenizer.config.normalization))

    def _restored(self, text: str) -> str:
        text = denormalize(text, self.tokenizers.tgt.config.normalization)
        return text.replace("\n", " ").replace("\r", " ").strip()

    def _divide(self, text: str, before: str = "", **how: Any) -> Division:
        """Divides a text; ``how`` is what ``divided`` takes."""
        return divided(text, self.tokenizers.src, self.sides, before=before, **how)

    def _divide_each(
        self, texts: Sequence[str], contexts: Sequence[str], on_error: OnError, **how: Any
    ) -> list[Division | None]:
        pairs = zip(texts, contexts, strict=True)
        return attempt_each(lambda pair: self._divide(*pair, **how), pairs, on_error)

    @property
    def _joining(self) -> dict[str, Any]:
        """What ``finished`` needs to know of the two languages."""
        return {"count_unknown": self._count_unknown, "language": self.sides.tgt}

    def _count_unknown(self, source: list[int]) -> int:
        return self.tokenizers.src.count_unknown(self.sides.alone(source))

    def _translation(self, hypothesis: Hypothesis, source: list[int]) -> Translation:
        own: Any = {"text": self.text_of(hypothesis.ids), "before": self.sides.before(source)}
        return translation_of(hypothesis, source, tokenizers=self.tokenizers, **own)

    def _decoding(
        self,
        config: SearchConfig,
        sources: list[list[int]],
        prefixes: list[list[int]],
        demands: list[Demand],
    ) -> Searching[list[list[Translation]]]:
        """Translates encoded sources in batches of like length; an empty one gives an empty translation."""
        translations: list[list[Translation]] = [[EMPTY]] * len(sources)
        tokens = BATCH_TOKENS if self._engine_model is None else NATIVE_TOKENS
        batches = list(batches_to_decode(sources, demands, config.beam, tokens=tokens))
        if not batches:
            return translations
        found = yield (
            (self._batch(config, rows, sources, prefixes, demands), replace(config, beam=beam))
            for rows, beam in batches
        )
        for (rows, _), hypotheses in zip(batches, found, strict=True):
            for row, ranked in zip(rows, hypotheses, strict=True):
                translations[row] = [self._translation(each, sources[row]) for each in ranked]
        return translations

    def _batch(
        self,
        config: SearchConfig,
        rows: list[int],
        sources: list[list[int]],
        prefixes: list[list[int]],
        demands: list[Demand],
    ) -> Batch:
        """Returns those ``rows`` of what ``_decoding`` gets that are decoded together."""
        own, forced = ([each[row] for row in rows] for each in (sources, prefixes))
        asked = [demands[row] for row in rows]
        fixed = [len(prefix) + demand.pieces for prefix, demand in zip(forced, asked, strict=True)]
        alone = [self.sides.alone(source) for source in own]
        limits = [self._limit(len(ids), count, config.limit) for ids, count in zip(alone, fixed, strict=True)]
        return Batch(own, forced, asked, limits, self._shortlists(alone, forced, asked), rows)

    def _shortlists(self, sources: list[list[int]], prefixes: list[list[int]], demands: list[Demand]) -> list[Pieces]:
        """The pieces that may translate each source; prefix and required phrases can always be spelled."""
        if (shortlist := self.shortlist) is None:
            return []
        plain = not any(prefixes) and not any(demand.required for demand in demands)
        also = [[*prefix, *demand.spelling] for prefix, demand in zip(prefixes, demands, strict=True)]
        return shortlist.choose(sources, () if plain else also)

    def aligned(self, translation: Translation) -> Translation:
        """Fills ``alignment``: for each target piece the source piece with the most attention.

        Raises ModelError if the model has no attention, or what decodes does not show it.
        """
        raise ModelError("alignment: the native engine does not show attention; load the run itself")

    def rated(self, translation: Translation) -> Translation:
        """Fills ``confidence``; raises ModelError if nobody has measured it for these weights."""
        return replace(translation, confidence=usable(self.calibration, self.step).rate(translation))

    def search(self, batch: Batch, config: SearchConfig) -> list[list[Hypothesis]]:
        """Returns up to ``config.n_best`` hypotheses of each source, best first."""
        own: Any = {"tokenizer": self.tokenizers.tgt, "text_of": self.text_of}
        if (model := self._engine_model) is not None:
            return search_natively(model, batch, config, **own, threads=self.threads)
        from clearhead.tasks.translation.search.searching import search_batch

        return search_batch(self.writer, batch, config, **own, device=self.device)


def _through(functions: Sequence[Callable[[Translation], Translation]], translation: Translation) -> Translation:
    """Returns what functions make of a translation, one after another."""
    return functools.reduce(lambda made, function: function(made), functions, translation)
