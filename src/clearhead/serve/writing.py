"""Texts of a language model as a stream: which are asked for, and what of them has been written."""

import functools
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.work.delivery import Delivery
from clearhead.serve.work.jobs import Job
from clearhead.serve.work.service import Ended
from clearhead.serve.work.steppers import TextWork
from clearhead.tasks.language_model.prompts import Generation, GenerationConfig, Prompt, TextWriter
from clearhead.tasks.native import engine_model
from clearhead.text.tokenizer import Tokenizer

ANY = 2**31 - 1


@dataclass(frozen=True)
class Wrote:
    """A piece of a text."""

    place: int
    """Which of the texts."""
    text: str
    """What can no longer change since the piece before; a piece may be part of a character."""
    id: int
    log_prob: float
    """NaN of the first piece of all, of which the model says nothing."""
    top: list[tuple[int, float]]
    """The most probable pieces and their log-probabilities."""


@dataclass(frozen=True)
class Wanted:
    """What is written."""

    model: Any
    """That writes it: a ``TextModel``."""
    prompts: Sequence[str | list[int]]
    """Texts, or pieces as ids."""
    config: GenerationConfig
    sampling: SamplingConfig
    top: int = 0
    """How many of the most probable pieces are told at each step."""

    @functools.cached_property
    def encoded(self) -> list[Prompt]:
        """The pieces of each prompt.

        Raises:
            RequestError: one has a piece that the model has not.
        """
        return [_encoded(self.model, given, self.config) for given in self.prompts]

    @property
    def texts(self) -> int:
        """How many texts are written."""
        return len(self.prompts) * self.config.n

    @property
    def size(self) -> int:
        """Pieces of the prompts of all texts."""
        return sum(len(prompt.ids) + prompt.dropped for prompt in self.encoded) * self.config.n


def sampling_of(asked: Asked, *, temperature: float = 1.0) -> SamplingConfig:
    """Reads how pieces are drawn, in OpenAI's names and those of clearhead; without a seed it is drawn."""
    fields = asked.fields
    return SamplingConfig(
        temperature=fields.number("temperature", temperature, 0.0, 100.0),
        top_k=fields.whole("top_k", 0, 0, ANY),
        top_p=fields.number("top_p", 1.0, 0.0, 1.0),
        min_p=fields.number("min_p", 0.0, 0.0, 1.0),
        typical_p=fields.number("typical_p", 1.0, 1e-6, 1.0),
        repetition_penalty=fields.number("repetition_penalty", 1.0, 0.01, 100.0),
        presence_penalty=fields.number("presence_penalty", 0.0, -2.0, 2.0),
        frequency_penalty=fields.number("frequency_penalty", 0.0, -2.0, 2.0),
        no_repeat_ngram=fields.whole("no_repeat_ngram", 0, 0, ANY),
        seed=fields.whole("seed", secrets.randbelow(ANY), -(2**63), 2**63 - 1) % 2**64,
    )


def _encoded(model: Any, given: str | list[int], config: GenerationConfig) -> Prompt:
    if isinstance(given, str):
        return model._prompt(given, config)
    size = model.tokenizer.vocab_size
    if wrong := [index for index in given if not 0 <= index < size]:
        raise RequestError(400, f"prompt: piece {wrong[0]} must be from 0 to {size - 1}", param="prompt")
    return Prompt(model.tokenizer.decode(given), given or [model.tokenizer.begin], 0, 0)


def is_stepped(wanted: Wanted) -> bool:
    """Whether the engine steps what is written piece by piece; else it comes from a call, as texts alone."""
    return engine_model(wanted.model) is not None and not wanted.config.beam


async def written(asked: Asked, wanted: Wanted) -> AsyncIterator[list[Wrote | Ended]]:
    """Yields what is written, in portions, an empty one now and then where nothing comes.

    The last event of each text is ``Ended`` with its ``Generation``.

    Raises:
        RequestError: see ``Service.stream``; or a text cannot be written.
    """
    model = wanted.model
    if not is_stepped(wanted):
        async for events in _written_whole(asked, wanted):
            yield events
        return
    settings, config = model._sampler_settings(wanted.config, wanted.sampling)
    post, tokenizer = asked.service.engine.post, model.tokenizer
    prompts = [prompt for prompt in wanted.encoded for _ in range(config.n)]
    asked.check_size(wanted.size)

    def make(job: Job, delivery: Delivery) -> tuple[Any, list[TextWork]]:
        works = []
        for place, prompt in enumerate(prompts):
            text = _Text(place, prompt, tokenizer, config.stop, functools.partial(post.put, delivery))
            own = (prompt.ids, settings, config.max_new, place % config.n)
            works.append(TextWork(job, text.end, *own, text.writer.push, text.wrote, wanted.top))
        return engine_model(model), works

    async for events in asked.service.stream(asked.request.receive, make):
        yield events


class _Text:
    """A text that is being written: what of it can no longer change is told piece by piece.

    Args:
        place: which of the texts.
        prompt: that it follows.
        tokenizer: of the model.
        stop: strings that end it.
        tell: told the events.
    """

    def __init__(
        self, place: int, prompt: Prompt, tokenizer: Tokenizer, stop: Sequence[str], tell: Callable[[Any], object]
    ) -> None:
        self.place, self._tell, self._parts = place, tell, list[str]()
        self.writer = TextWriter(prompt, tokenizer, stop=stop, on_text=self._parts.append)

    def wrote(self, index: int, log_prob: float, top: list[tuple[int, float]]) -> None:
        """Tells of a piece that the writer has taken."""
        self._tell(Wrote(self.place, "".join(self._parts), index, log_prob, top))
        self._parts.clear()

    def end(self, work: object, result: Any) -> None:
        """Tells what came of the text."""
        if not isinstance(result, BaseException):
            result = self.writer.finish(result)
            if self._parts:
                self._tell(Wrote(self.place, "".join(self._parts), -1, 0.0, []))
        self._tell(Ended(self.place, result))


async def _written_whole(asked: Asked, wanted: Wanted) -> AsyncIterator[list[Wrote | Ended]]:
    """Yields what a model writes whose steps the engine does not know, from a call of its own."""
    if not all(isinstance(prompt, str) for prompt in wanted.prompts):
        raise RequestError(400, "prompt: this model takes no pieces, only texts", param="prompt")

    def write(job: Job, delivery: Delivery) -> None:
        def on_text(number: int, text: str) -> None:
            job.check()
            delivery.send([Wrote(number, text, -1, 0.0, [])])

        each = wanted.model.generate_each(wanted.prompts, wanted.config, sampling=wanted.sampling, on_text=on_text)
        delivery.send([Ended(place, text) for place, text in enumerate(text for texts in each for text in texts)])

    async for events in asked.service.stream_call(asked.request.receive, write, wanted.texts):
        yield events


async def gathered(asked: Asked, wanted: Wanted) -> tuple[list[Generation], list[list[Wrote]]]:
    """Returns all texts, and the pieces of each."""
    texts: list[Any] = [None] * wanted.texts
    pieces: list[list[Wrote]] = [[] for _ in range(wanted.texts)]
    async for events in written(asked, wanted):
        for each in events:
            if isinstance(each, Ended):
                texts[each.place] = each.result
            else:
                pieces[each.place].append(each)
    return texts, pieces
