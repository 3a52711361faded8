"""Text generation for every kind of language model, whatever computes it; no torch until its steps are needed."""

import functools
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from clearhead.arguments import checked
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.native import native_text_search
from clearhead.engine.loops.continuation import Continuation, Reason
from clearhead.engine.loops.generation import generate
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import ModelError, OnError, UsageError, attempt_each, refuse
from clearhead.progress import silent
from clearhead.tasks.language_model.prompts import Generation, GenerationConfig, Prompt, TextWriter
from clearhead.tasks.native import NativeUser
from clearhead.tasks.settings import settled
from clearhead.text.phrase_book import PhraseBook
from clearhead.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    from clearhead.decode.rows import TextRows

BATCH_TOKENS, BATCH_ROWS = 8192, 64  # pieces of prompts and texts in one cache, and rows whose logits are there at once
DEFAULT, PLAIN = GenerationConfig(), SamplingConfig()


class TextModel(NativeUser):
    """A language model with its tokenizer, ready to generate text."""

    tokenizer: Tokenizer
    device: Any
    marks: bool
    """Whether training marked where documents begin; if so, a prompt begins with that mark."""

    @property
    @abstractmethod
    def context(self) -> int | None:
        """How many pieces the model can look back on; None for no limit."""

    @abstractmethod
    def begin(self, prompts: Sequence[Sequence[int]]) -> "TextRows":
        """Starts decoding a batch of prompts, each of one piece or more."""

    @abstractmethod
    def log_probs(self, text: str) -> list[float]:
        """Returns the log-probability of each piece of ``text``, in nats, as the beginning of a document.

        Raises:
            DataError: the text has a lone surrogate.
        """

    @overload
    def generate(  # type: ignore[overload-overlap]
        self,
        prompts: str,
        config: GenerationConfig = DEFAULT,
        *,
        sampling: SamplingConfig = PLAIN,
        draft: "TextModel | None" = None,
        on_text: Callable[[int, str], object] = silent,
    ) -> Generation: ...

    @overload
    def generate(
        self,
        prompts: Iterable[str],
        config: GenerationConfig = DEFAULT,
        *,
        sampling: SamplingConfig = PLAIN,
        draft: "TextModel | None" = None,
        on_text: Callable[[int, str], object] = silent,
    ) -> list[Generation]: ...

    @checked
    def generate(
        self,
        prompts: str | Iterable[str],
        config: GenerationConfig = DEFAULT,
        *,
        sampling: SamplingConfig = PLAIN,
        draft: "TextModel | None" = None,
        on_text: Callable[[int, str], object] = silent,
    ) -> Generation | list[Generation]:
        """Continues a prompt, or each of several, as ``generate_each`` does.

        Returns:
            For a string the text that continues it. For anything else one list with the texts of all prompts.

        Raises:
            UsageError: see ``generate_each``; or a string is to have several texts (``n``), which only a list of
                prompts has.
        """
        if isinstance(prompts, str) and config.n > 1:
            raise UsageError(f"n = {config.n}: a prompt that is a string has one text, put it in a list for several")
        lines = [prompts] if isinstance(prompts, str) else prompts
        ranked = self.generate_each(lines, config, sampling=sampling, draft=draft, on_text=on_text)
        return ranked[0][0] if isinstance(prompts, str) else [text for texts in ranked for text in texts]

    @checked
    def generate_each(
        self,
        prompts: Iterable[str],
        config: GenerationConfig = DEFAULT,
        *,
        sampling: SamplingConfig = PLAIN,
        draft: "TextModel | None" = None,
        on_text: Callable[[int, str], object] = silent,
        on_error: OnError = refuse,
    ) -> list[list[Generation]]:
        """Continues each prompt; an empty prompt starts a new text.

        The texts of a prompt depend on that prompt, the settings and the seed, and not on the other prompts.

        Args:
            prompts: of any mix of lengths.
            config: length and number of the texts, stop strings, banned words, beam.
            sampling: how pieces are sampled; a beam search uses only its ``no_repeat_ngram``.
            draft: a smaller model of any kind with the same tokenizer, for speculative decoding: greedy texts stay the
                same, sampled ones keep their distribution, and generation is faster if its proposals are often right.
            on_text: called with the number of a text, of all that are written, and its next part, during generation.
            on_error: called for a prompt that is too long under ``error`` or has a lone surrogate, which then gets no
                text; without it such a prompt is an error.

        Returns:
            For each prompt its ``n`` texts; those of a search best first, and fewer where the vocabulary is small.

        Raises:
            UsageError: an argument or a setting is wrong or conflicts with another.
            DataError: a prompt cannot be continued, and there is no ``on_error``.
            ModelError: the logits have NaN, or the draft has another tokenizer.
        """
        settings, config = self._sampler_settings(config, sampling, draft=draft)
        read = attempt_each(lambda text: self._prompt(text, config), prompts, on_error)
        writers = [
            TextWriter(prompt, self.tokenizer, stop=config.stop, on_text=functools.partial(on_text, number))
            for number, prompt in enumerate(prompt for prompt in read if prompt for _ in range(config.n))
        ]
        continuations: Sequence[Continuation | None]
        if config.beam:
            continuations = self._search(writers, settings, config)
        elif draft:
            from clearhead.tasks.language_model.stepped import write_ahead

            continuations = write_ahead(self, draft, writers, settings, config)
        else:
            continuations = self._draw(writers, settings, config)
        written = (
            writer.finish(continuation) if continuation else None
            for writer, continuation in zip(writers, continuations, strict=True)
        )
        return [[text for text in islice(written, config.n) if text] if prompt else [] for prompt in read]

    def _prompt(self, text: str, config: GenerationConfig) -> Prompt:
        """Encodes a prompt; raises DataError as ``Prompt.of`` does."""
        return Prompt.of(text, self.tokenizer, config, context=self.context, marks=self.marks)

    def _sampler_settings(
        self, config: GenerationConfig, sampling: SamplingConfig, *, draft: "TextModel | None" = None
    ) -> tuple[SamplerSettings, GenerationConfig]:
        """Checks settings, and returns how pieces are drawn, and the lengths as they are read.

        Raises:
            UsageError: a setting is wrong or conflicts with another.
            ModelError: the draft has another tokenizer.
        """
        config, sampling = settled(config, source="generation"), settled(sampling, source="sampling")
        self._check(config, sampling, draft)
        return self._settings(config, sampling), config

    def _check(self, config: GenerationConfig, sampling: SamplingConfig, draft: "TextModel | None") -> None:
        drawn = replace(sampling, no_repeat_ngram=0, seed=0) != PLAIN
        if config.beam and (draft or config.stop or drawn):
            raise UsageError(
                f"beam = {config.beam}: looks for the most probable texts, so it goes with no draft, no stop strings, "
                "and of sampling with no_repeat_ngram alone"
            )
        size = self.tokenizer.vocab_size
        if wrong := [piece for piece, _ in sampling.bias if not 0 <= piece < size]:
            raise UsageError(f"bias: piece {wrong[0]} must be from 0 to {size - 1}")
        if config.cache != "float32" and (draft or self._native is None):
            why = "goes with no draft" if draft else "the native engine alone has such, and it does not compute here"
            raise UsageError(f"cache = {config.cache!r}: {why}")
        if draft and draft.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ModelError("draft: has another tokenizer than the model, so its pieces mean something else")

    def _settings(self, config: GenerationConfig, sampling: SamplingConfig) -> SamplerSettings:
        ids, avoided = self.tokenizer.ids, None
        if config.bad_words:
            (demand,) = self._phrases.demands((), config.bad_words, count=1, prefix="", room=0)
            avoided = demand.avoided
        ends, characters = self.tokenizer.ends, self.tokenizer.characters
        never = tuple(index for index in ids.never if index not in ends)
        return SamplerSettings(sampling, ids.eos, never, config.min_length, ends, avoided, characters, config.max_new)

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizer)

    def _batches(self, writers: list[TextWriter], config: GenerationConfig) -> Iterator[list[int]]:
        """Yields the indices of texts that are generated in one batch, longest first."""
        lengths = [len(writer.prompt.ids) for writer in writers]
        if (context := self.context) is not None:  # the texts are kept too
            lengths = [min(length + config.max_new, context) for length in lengths]
        widths = [max(length * max(config.beam, 1) + 1, BATCH_TOKENS // BATCH_ROWS) for length in lengths]
        waiting = sorted(range(len(widths)), key=lambda number: -widths[number])
        while waiting:
            count = max(1, BATCH_TOKENS // widths[waiting[0]])
            yield waiting[:count]
            waiting = waiting[count:]

    def _draw(
        self, writers: list[TextWriter], settings: SamplerSettings, config: GenerationConfig
    ) -> list[Continuation]:
        continuations = [Continuation()] * len(writers)
        for batch in self._batches(writers, config):
            for number, text in zip(batch, self._drawn(batch, writers, settings, config), strict=True):
                continuations[number] = text
        return continuations

    def _drawn(
        self, batch: list[int], writers: list[TextWriter], settings: SamplerSettings, config: GenerationConfig
    ) -> list[Continuation]:
        """Draws a batch of texts piece by piece."""
        prompts, stopped = [writers[number].prompt.ids for number in batch], [writers[number].push for number in batch]
        limits, samples = [config.max_new] * len(batch), [number % config.n for number in batch]
        if (model := self._native) is not None:
            drawn: dict[str, Any] = {"limits": limits, "samples": samples, "stopped": stopped}
            return generate(model.holding(config.cache), prompts, settings, **drawn, threads=self.threads)
        from clearhead.tasks.language_model.stepped import write

        return write(self, prompts, settings, limits=limits, samples=samples, stopped=stopped)

    def _search(
        self, writers: list[TextWriter], settings: SamplerSettings, config: GenerationConfig
    ) -> list[Continuation | None]:
        """A search in a small vocabulary may find fewer than ``n`` texts of a prompt."""
        continuations: list[Continuation | None] = [None] * len(writers)
        firsts, eos_id = writers[:: config.n], settings.eos_id
        for batch in self._batches(firsts, config):
            prompts = [firsts[row].prompt.ids for row in batch]
            ranked = self._searched(prompts, settings, config)
            for row, texts in zip(batch, ranked, strict=True):
                for number, text in enumerate(texts, row * config.n):
                    ids = text.ids + [eos_id] * text.complete
                    reason: Reason = "end" if text.complete else "length"
                    continuations[number] = Continuation(ids, text.log_probs, reason, cut_better=text.cut_better)
                    writers[number].push(*text.ids)
        return continuations

    def _searched(
        self, prompts: list[list[int]], settings: SamplerSettings, config: GenerationConfig
    ) -> list[list[Hypothesis]]:
        """Searches for what follows a batch of prompts."""
        search, limits = SearchConfig(config.beam, config.n), [config.max_new] * len(prompts)
        if (model := self._native) is not None:
            text_of, threads = self.tokenizer.decode, self.threads
            own: dict[str, Any] = {"limits": limits, "threads": threads, "text_of": text_of}
            return native_text_search(model.holding(config.cache), prompts, search, settings, **own)
        from clearhead.tasks.language_model.stepped import search_by_steps

        return search_by_steps(self, prompts, settings, search, limits=limits)


def has_marks(run: Path) -> bool:
    """Whether the run was trained on several documents, with an end mark before each."""
    path = run / "data-report.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["train"]["end_marks"])
    except FileNotFoundError:
        return False  # weights from elsewhere
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
