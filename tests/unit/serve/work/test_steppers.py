"""Steppers give each text what it gets alone, and take one out whenever they are told."""

from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.engine.loops.generation import generate
from clearhead.engine.loops.sampler import SamplerSettings
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError
from clearhead.serve.work.jobs import Job
from clearhead.serve.work.steppers import SourceStepper, SourceWork, TextStepper, TextWork, stepper_for
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

pytestmark = NATIVE
JOB = Job(60.0)


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> NativeModel:
    found = Translator.load(toy_run, device="cpu").writer
    assert isinstance(found, NativeModel)
    return found


@pytest.fixture(scope="module")
def writer(toy_lm_run: Path) -> NativeModel:
    found = LanguageModel.load(toy_lm_run, device="cpu")._engine_model
    assert found is not None
    return found


def ignored(*told: Any) -> None:
    """Is told of pieces and ends, and keeps nothing."""


def source(ids: list[int], beam: int, place: int, text_of: Callable[[list[int]], Hashable] | None = None) -> SourceWork:
    return SourceWork(JOB, ignored, ids, NativeSearch(1, 2, beam, n_best=beam), [], 12, text_of, place)


def text(prompt: list[int], seed: int, pieces: list[tuple[int, float]], limit: int = 9) -> TextWork:
    settings = SamplerSettings(SamplingConfig(seed=seed), 2)
    return TextWork(JOB, ignored, prompt, settings, limit, 0, lambda _: False, lambda *told: pieces.append(told[:2]))


def test_sources_that_join_and_leave_are_searched_for_as_alone(translator: NativeModel) -> None:
    works = [source([5 + place, 9, 2], 1 + place % 3, place) for place in range(6)]
    stepper, found = stepper_for(translator, works[0], 2), {}
    assert isinstance(stepper, SourceStepper)
    for place, work in enumerate(works):
        stepper.join([work])
        assert len(stepper) >= work.rows
        if place == 3:
            stepper.leave(works[3])
        found |= {each.place: outcome for each, outcome in stepper.step(2)}
    stepper.leave(works[3])  # it is no error that it has left
    while len(stepper):
        found |= {each.place: outcome for each, outcome in stepper.step(2)}
    assert set(found) == {0, 1, 2, 4, 5}
    for place, outcome in found.items():
        work = works[place]
        assert outcome == translate(translator, [work.source], work.search, limits=[12])[0]


def test_what_is_settled_of_a_source_is_told_and_at_last_all_of_it(translator: NativeModel) -> None:
    told: dict[int, list[tuple[list[int], bool]]] = {1: [], 3: []}
    works = [source([5, 9, 7, 2], beam, beam) for beam in told]
    for work in works:
        work.search = replace(work.search, n_best=1)
        work.on_settled = lambda ids, whole, own=told[work.place]: own.append((ids, whole))
    stepper, found = SourceStepper(translator, 1), dict[int, Any]()
    stepper.join([*works, source([5, 2], 2, 9)])
    while len(stepper):
        found |= {work.place: outcome for work, outcome in stepper.step(1)}
    for beam, events in told.items():
        (best,) = found[beam]
        assert [whole for _, whole in events] == [False] * (len(events) - 1) + [True]
        assert events[-1][0] == best.ids
        assert all(best.ids[: len(ids)] == ids for ids, _ in events)
    assert [len(ids) for ids, _ in told[1]][:-1] == list(range(1, len(told[1]))), "of a greedy search all that it has"


def test_texts_that_join_and_leave_are_written_as_alone(writer: NativeModel) -> None:
    told: list[list[tuple[int, float]]] = [[] for _ in range(5)]
    works = [text([1, 7 + place], place, told[place]) for place in range(5)]
    stepper, found = stepper_for(writer, works[0], 1), {}
    assert isinstance(stepper, TextStepper)
    for place, work in enumerate(works):
        stepper.join([work])
        if place == 2:
            stepper.leave(works[2])
        found |= {works.index(each): outcome for each, outcome in stepper.step(2)}
    while len(stepper):
        found |= {works.index(each): outcome for each, outcome in stepper.step(2)}
    assert set(found) == {0, 1, 3, 4}
    for place, outcome in found.items():
        work = works[place]
        (alone,) = generate(writer, [work.prompt], work.settings, limits=[9], samples=[0])
        assert outcome == alone
        assert told[place] == list(zip(alone.ids, alone.log_probs, strict=True))


def test_where_one_cannot_join_none_does(translator: NativeModel, writer: NativeModel) -> None:
    sources, texts = SourceStepper(translator, 1), TextStepper(writer, 1)
    with pytest.raises(ModelError):
        sources.join([source([5, 2], 2, 0), source([10**6], 2, 1)])
    with pytest.raises(ModelError):
        sources.join([source([5, 2], 2, 0), source([10**6], 2, 1, text_of=str)])  # which join one after the other
    with pytest.raises(ModelError):
        texts.join([text([5], 0, []), text([10**6], 0, [])])
    assert (len(sources), len(texts)) == (0, 0)
    assert sources.step(1) == texts.step(1) == []
