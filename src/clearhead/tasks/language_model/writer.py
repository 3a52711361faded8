"""Text generation for every kind of language model: sampling, beam search and speculative decoding."""

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import overload

import numpy as np
import torch

from clearhead.arguments import checked
from clearhead.config import as_tree, parse
from clearhead.data.batching import sequential_batches
from clearhead.decode.generation import generate, speculate
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.native import native_text_search
from clearhead.decode.rows import PromptedDecoding, TextRows
from clearhead.decode.rules import forbid
from clearhead.decode.sampler import Sampler
from clearhead.decode.search import beam_search
from clearhead.decode.trace import MakeMeter, TraceStep, text_reader, trace_greedy
from clearhead.decode.tree import BeamTree, grow_tree
from clearhead.decode.whole import whole_characters
from clearhead.engine.choose import Computed
from clearhead.engine.loops.continuation import Continuation, Reason
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError, OnError, UsageError, attempt_each, refuse
from clearhead.progress import silent
from clearhead.ranges import CountOrZero
from clearhead.tasks.language_model.prompts import Generation, GenerationConfig, Prompt, TextWriter
from clearhead.tasks.loaded import Loaded
from clearhead.text.phrase_book import PhraseBook
from clearhead.text.tokenizer import Tokenizer

BATCH_TOKENS, BATCH_ROWS = 8192, 64  # pieces of prompts and texts in one cache, and rows whose logits are there at once
DEFAULT, PLAIN = GenerationConfig(), SamplingConfig()


class TextModel(Loaded, ABC):
    """A language model with its tokenizer, ready to generate text."""

    tokenizer: Tokenizer
    device: torch.device
    marks: bool
    """Whether training marked where documents begin; if so, a prompt begins with that mark."""

    @property
    @abstractmethod
    def context(self) -> int | None:
        """How many pieces the model can look back on; None for no limit."""

    @property
    def computed(self) -> Computed:
        """Which engine generates here."""
        return "torch"

    @property
    def native(self) -> NativeModel | None:
        """The model packed for the native engine, where that generates."""
        return None

    @abstractmethod
    def begin(self, prompts: Sequence[Sequence[int]]) -> TextRows:
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
        config = parse(GenerationConfig, as_tree(config), source="generation")
        sampling = parse(SamplingConfig, as_tree(sampling), source="sampling")
        self._check(config, sampling, draft)
        sampler = self._sampler(config, sampling)
        read = attempt_each(
            lambda text: Prompt.of(text, self.tokenizer, config, context=self.context, marks=self.marks),
            prompts,
            on_error,
        )
        writers = [
            TextWriter(prompt, self.tokenizer, stop=config.stop, on_text=functools.partial(on_text, number))
            for number, prompt in enumerate(prompt for prompt in read if prompt for _ in range(config.n))
        ]
        continuations: Sequence[Continuation | None]
        if config.beam:
            continuations = self._search(writers, sampler, config)
        elif draft:
            continuations = self._draft(draft, writers, sampler, config)
        else:
            continuations = self._draw(writers, sampler, config)
        written = (
            writer.finish(continuation) if continuation else None
            for writer, continuation in zip(writers, continuations, strict=True)
        )
        return [[text for text in islice(written, config.n) if text] if prompt else [] for prompt in read]

    @checked
    def beam_tree(self, prompt: str, config: GenerationConfig) -> tuple[list[int], BeamTree]:
        """Returns the pieces of a prompt and every hypothesis of the search that ``generate`` makes with a beam."""
        sampler, eos_id = self._sampler(config, PLAIN), self.tokenizer.ids.eos
        read = Prompt.of(prompt, self.tokenizer, config, context=self.context, marks=self.marks).ids
        tree = grow_tree(
            PromptedDecoding(self.begin, [read], beam=config.beam),
            SearchConfig(config.beam, config.n),
            limit=config.max_new,
            bos_id=eos_id,
            eos_id=eos_id,
            rules=[sampler.rule([read])],
            text_of=self.tokenizer.decode,
            device=self.device,
        )
        return read, tree

    @checked
    def trace(
        self, prompt: str, config: GenerationConfig, *, top: CountOrZero = 5, meter: MakeMeter | None = None
    ) -> list[TraceStep]:
        """Follows a prompt through every step of greedy generation, within the context; see ``trace_greedy``."""
        read = Prompt.of(prompt, self.tokenizer, config, context=self.context, marks=self.marks).ids
        limit = config.max_new if self.context is None else min(config.max_new, self.context - len(read) + 1)
        sampler = self._sampler(config, PLAIN)
        rules = [
            forbid(list(sampler.forbidden)),
            *whole_characters(self.tokenizer.characters, [limit], self.device),
        ]
        with torch.inference_mode():
            reader = text_reader(self.begin, read[0], limit=len(read) + limit)
        return trace_greedy(reader, read, limit=limit, ends=sampler.marks, rules=rules, top=top, meter=meter)

    def _check(self, config: GenerationConfig, sampling: SamplingConfig, draft: "TextModel | None") -> None:
        drawn = replace(sampling, no_repeat_ngram=0, seed=0) != PLAIN
        if config.beam and (draft or config.stop or drawn):
            raise UsageError(
                f"beam = {config.beam}: looks for the most probable texts, so it goes with no draft, no stop strings, "
                "and of sampling with no_repeat_ngram alone"
            )
        if draft and draft.tokenizer.fingerprint != self.tokenizer.fingerprint:
            raise ModelError("draft: has another tokenizer than the model, so its pieces mean something else")

    def _sampler(self, config: GenerationConfig, sampling: SamplingConfig) -> Sampler:
        ids, avoided = self.tokenizer.ids, None
        if config.bad_words:
            (demand,) = self._phrases.demands((), config.bad_words, count=1, prefix="", room=0)
            avoided = demand.avoided
        ends, characters = self.tokenizer.ends, self.tokenizer.characters
        never = tuple(index for index in ids.never if index not in ends)
        return Sampler(sampling, ids.eos, never, config.min_length, ends, avoided, characters, config.max_new)

    @functools.cached_property
    def _phrases(self) -> PhraseBook:
        return PhraseBook(self.tokenizer)

    def _batches(self, writers: list[TextWriter], config: GenerationConfig) -> Iterator[list[int]]:
        """Yields the indices of texts that are generated in one batch, longest first."""
        lengths = np.array([len(writer.prompt.ids) for writer in writers], np.int64)
        if self.context:  # the texts are kept too
            lengths = np.minimum(lengths + config.max_new, self.context)
        least = BATCH_TOKENS // BATCH_ROWS - 1  # which the plan makes one longer
        plan = sequential_batches(np.maximum(lengths * max(config.beam, 1), least), batch_tokens=BATCH_TOKENS)
        return (plan[index].tolist() for index in range(len(plan)))

    def _draw(self, writers: list[TextWriter], sampler: Sampler, config: GenerationConfig) -> list[Continuation]:
        continuations = [Continuation()] * len(writers)
        for batch in self._batches(writers, config):
            batch_writers = [writers[number] for number in batch]
            texts = generate(
                self.begin,
                [writer.prompt.ids for writer in batch_writers],
                sampler,
                limits=[config.max_new] * len(batch_writers),
                samples=[number % config.n for number in batch],
                stopped=[writer.push for writer in batch_writers],
            )
            for number, text in zip(batch, texts, strict=True):
                continuations[number] = text
        return continuations

    def _draft(
        self, draft: "TextModel", writers: list[TextWriter], sampler: Sampler, config: GenerationConfig
    ) -> list[Continuation]:
        return [
            speculate(
                self.begin,
                draft.begin,
                writer.prompt.ids,
                sampler,
                limit=config.max_new,
                drafted=config.draft_pieces,
                sample=number % config.n,
                stopped=writer.push,
            )
            for number, writer in enumerate(writers)
        ]

    def _search(
        self, writers: list[TextWriter], sampler: Sampler, config: GenerationConfig
    ) -> list[Continuation | None]:
        """A search in a small vocabulary may find fewer than ``n`` texts of a prompt."""
        continuations: list[Continuation | None] = [None] * len(writers)
        firsts, eos_id = writers[:: config.n], sampler.eos_id
        for batch in self._batches(firsts, config):
            prompts = [firsts[row].prompt.ids for row in batch]
            ranked = self._searched(prompts, sampler, config)
            for row, texts in zip(batch, ranked, strict=True):
                for number, text in enumerate(texts, row * config.n):
                    ids = text.ids + [eos_id] * text.complete
                    reason: Reason = "end" if text.complete else "length"
                    continuations[number] = Continuation(ids, text.log_probs, reason, cut_better=text.cut_better)
                    writers[number].push(*text.ids)
        return continuations

    def _searched(self, prompts: list[list[int]], sampler: Sampler, config: GenerationConfig) -> list[list[Hypothesis]]:
        """Searches for what follows a batch of prompts."""
        search, limits, text_of = (
            SearchConfig(config.beam, config.n),
            [config.max_new] * len(prompts),
            self.tokenizer.decode,
        )
        if (model := self.native) is not None:
            threads = torch.get_num_threads()
            return native_text_search(model, prompts, search, sampler, limits=limits, threads=threads, text_of=text_of)
        return beam_search(
            PromptedDecoding(self.begin, prompts, beam=config.beam),
            search,
            limits=limits,
            bos_id=sampler.eos_id,
            eos_id=sampler.eos_id,
            rules=[sampler.rule(prompts)],
            text_of=text_of,
            device=self.device,
        )


def has_marks(run: Path) -> bool:
    """Whether the run was trained on several documents, with an end mark before each."""
    path = run / "data-report.json"
    try:
        return bool(json.loads(path.read_text(encoding="utf-8"))["train"]["end_marks"])
    except FileNotFoundError:
        return False  # weights from elsewhere
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error}") from error
