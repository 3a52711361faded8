"""Sources that join and leave at any step find what they find alone, bit for bit; those that fail fail alone."""

import gc
import itertools
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.decode.sampler import Sampler
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeHypothesis, NativeSearch, translate
from clearhead.engine.loops.searches import Outcome, Searches
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.packing import Weights
from clearhead.errors import ModelError
from clearhead.models.transformer import Transformer
from clearhead.text.characters import characters_of
from tests.native import KERNELS, NATIVE, native
from tests.small import random_rows, small, small_gpt

pytestmark = NATIVE
BOS, EOS = 1, 2
CHARACTERS = characters_of(
    [b"", b"", b"", *b"a \xe6 \x88 \x91 \xe6\x88 \xf0\x9f \x98\x80 b\xc3 \xa9 c".split()],
)
KINDS = [
    NativeSearch(BOS, EOS),
    NativeSearch(BOS, EOS, 5, 0.6, n_best=3),
    NativeSearch(BOS, EOS, 2, 1.0, forbidden=(0, 3), at_least=4),
    NativeSearch(BOS, EOS, 3, 2.0, forbidden=(0, 1), characters=CHARACTERS),
    NativeSearch(BOS, EOS, 20, 0.0, n_best=20),
]


def model_of(seed: int = 0, **sizes: Any) -> Transformer:
    model = small(seed=seed, **sizes)
    model.lm_head.weight.data *= 2.0
    return model


def alone(model: NativeModel, source: list[int], search: NativeSearch, limit: int, **given: Any) -> Any:
    return translate(model, [source], search, limits=[limit], **given)[0]


def ended(searches: Searches, steps: int = 1) -> dict[int, Outcome]:
    """Steps until all are over."""
    found: dict[int, Outcome] = {}
    while searches.tickets:
        found.update(searches.step(steps))
    return found


def rows_of(searches: Searches, kinds: dict[int, NativeSearch]) -> int:
    return sum(kinds[ticket].beam for ticket in searches.tickets)


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@pytest.mark.parametrize("threads", [1, 2, 4])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.data())
def test_sources_that_come_and_go_find_what_they_find_alone(kernels: str, threads: int, data: st.DataObject) -> None:
    model = native(model_of(data.draw(st.integers(0, 5))), kernels)
    searches, draw = Searches(model, threads), data.draw(st.randoms(use_true_random=False))
    asked: dict[int, tuple[list[int], NativeSearch, int, list[int]]] = {}
    kinds: dict[int, NativeSearch] = {}
    found: dict[int, Outcome] = {}
    left = set[int]()
    for _ in range(12):
        wanted = [
            (random_rows([draw.randrange(1, 12)], draw.randrange(99))[0], draw.choice(KINDS), draw.randrange(1, 20))
            for _ in range(draw.choice([0, 0, 1, 2, 5]))
        ]
        prefixes = [draw.choice([[], [], [4, 5], [EOS]]) for _ in wanted]
        sources, own, limits = zip(*wanted, strict=True) if wanted else ((), (), ())
        for ticket, each, prefix in zip(
            searches.join(sources, own, limits=limits, prefixes=prefixes), wanted, prefixes, strict=True
        ):
            asked[ticket], kinds[ticket] = (*each, prefix), each[1]
        if searches.tickets and draw.random() < 0.4:
            gone = draw.choice(searches.tickets)
            searches.leave(gone)
            left.add(gone)
        assert len(searches) == rows_of(searches, kinds)
        found.update(searches.step(draw.choice([1, 1, 1, 3])))
    found.update(ended(searches))
    assert (len(searches), {*found} | left, {*found} & left) == (0, {*asked}, set())
    for ticket, outcome in found.items():
        source, search, limit, prefix = asked[ticket]
        assert outcome == alone(model, source, search, limit, prefixes=[prefix])


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("threads", [1, 3])
def test_shortlists_come_and_go_with_their_sources(threads: int, weights: Weights) -> None:
    """Columns are copied when a source needs them, dropped when many are not needed, and copied again."""
    wide = model_of(vocab_size=90)
    model, draw, asked = native(wide, None, weights), random.Random(0), dict[int, Any]()
    searches, found = Searches(model, threads), dict[int, Outcome]()
    for turn in range(30):
        count = 6 if turn % 10 == 0 else draw.choice([0, 0, 1])
        sources, limits = random_rows([3] * count, seed=turn), [draw.choice([2, 5, 17]) for _ in range(count)]
        lists = [np.unique([EOS, *draw.sample(range(3, 90), 12)]).astype(np.int32) for _ in range(count)]
        own = [draw.choice(KINDS[:3]) for _ in range(count)]
        listed = turn % 3 > 0 or turn % 10 == 0  # sources without one are in the same batch
        tickets = searches.join(sources, own, limits=limits, shortlists=lists if listed else ())
        for ticket, *each in zip(tickets, sources, own, limits, lists, strict=True):
            asked[ticket] = (*each[:3], {"shortlists": [each[3]]} if listed else {})
        if searches.tickets and turn % 7 == 3:
            searches.leave(searches.tickets[0])
        found.update(searches.step())
    found.update(ended(searches))
    assert len(found) > 20
    for ticket, outcome in found.items():
        source, search, limit, more = asked[ticket]
        assert outcome == alone(model, source, search, limit, **more)
    assert any(more for *_, more in asked.values())
    assert not all(more for *_, more in asked.values())


@pytest.mark.parametrize("threads", [1, 3])
def test_prompts_that_come_and_go(threads: int) -> None:
    """Windows slide; each prompt has its own penalties."""
    gpt = small_gpt(max_seq_len=8)
    for weight in gpt.parameters():
        weight.data *= 0.5
    model, expected = native(gpt), dict[int, Any]()
    searches = Searches(model, threads)
    for number in range(12):
        penalties = SamplingConfig(no_repeat_ngram=(0, 2, 3)[number % 3], repetition_penalty=1.0 + number / 10)
        drawing = Sampler(penalties, EOS, forbidden=(0,), min_length=11, ends=((), (3, 4))[number % 2], limit=17)
        search = NativeSearch(EOS, EOS, 1 + number % 4, n_best=1 + number % 2 * (number % 4 > 0), settings=drawing)
        (prompt,) = random_rows([1 + 2 * number], seed=number)
        (ticket,) = searches.join([prompt], [search], limits=[17])
        expected[ticket] = alone(model, prompt, search, 17)
        if number in (5, 8):
            searches.leave(ticket)
            del expected[ticket]
        for over, outcome in searches.step(number % 3):
            assert outcome == expected.pop(over)
    assert len(expected) > 4
    assert ended(searches) == expected


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("beam", [1, 4])
def test_one_that_fails_fails_alone(beam: int, threads: int) -> None:
    model = model_of(tie="none")
    model.encoder.embedding.tokens.weight.data[9] = float("nan")
    fast, search = native(model), NativeSearch(BOS, EOS, beam)
    sources = [[4, 5], [6, 9], [7], [9], [5, 5, 5]]
    searches = Searches(fast, threads)
    tickets = searches.join(sources, [search] * 5, limits=[9] * 5)
    found = ended(searches)
    for ticket, source in zip(tickets, sources, strict=True):
        outcome = found[ticket]
        if 9 in source:
            assert isinstance(outcome, ModelError)
            assert str(outcome) == "NaN among the logits"
        else:
            assert outcome == alone(fast, source, search, 9)
    with pytest.raises(ModelError, match=r"^NaN among the logits$"):
        translate(fast, sources, search, limits=[9] * 5, threads=threads)


def test_what_text_of_raises_is_of_its_source() -> None:
    def fail(ids: Sequence[int]) -> str:
        raise KeyError(ids[0])

    fast, search = native(model_of()), NativeSearch(BOS, EOS, 3, n_best=2)
    searches = Searches(fast, 2)
    (bad,) = searches.join([[4, 5]], [search], limits=[9], prefixes=[[5, 6]], text_of=fail)
    (good,) = searches.join([[4, 5]], [search], limits=[9], text_of=tuple)
    found = ended(searches)
    assert isinstance(found[bad], KeyError)
    assert found[good] == alone(fast, [4, 5], search, 9, text_of=tuple)


def test_one_that_cannot_join_keeps_all_out() -> None:
    search, drawing = NativeSearch(BOS, EOS, 2), Sampler(SamplingConfig(), EOS)
    searches = Searches(native(model_of()))
    for wrong, message in (
        ({"sources": [[4], [13]]}, "piece 13: must be from 0 to 12"),
        ({"sources": [[4], []]}, "a sequence of 0 pieces: must be at least 1 and at most max_seq_len = 64"),
        ({"limits": [5, 65]}, "limit = 65: must be from 1 to 64"),
        ({"limits": [5, 0]}, "limit = 0: must be at least 1"),
        ({"prefixes": [[], [-1]]}, "piece -1: must be from 0 to 12"),
        ({"searches": [search, replace(search, n_best=3)]}, "n_best = 3: must be from 1 to beam = 2"),
        ({"searches": [search, replace(search, eos_id=13)]}, "eos 13: must be from 0 to 12"),
        ({"searches": [search, replace(search, settings=drawing)]}, "penalties: a search of a model"),
    ):
        given: dict[str, Any] = {"sources": [[4], [5]], "searches": [search, search], "limits": [5, 5], **wrong}
        with pytest.raises(ModelError) as error:
            searches.join(**given)
        assert str(error.value).startswith(message)
        assert (len(searches), searches.tickets, searches.step()) == (0, [], [])
    with pytest.raises(ValueError, match=r"^1 searches, 2 limits: must be one for each of 2 sources$"):
        searches.join([[4], [5]], [search], limits=[5, 5])
    with pytest.raises(ModelError, match=r"^a prompt of 0 pieces: must have at least 1$"):
        Searches(native(small_gpt())).join([[]], [search], limits=[5])


def test_leaving_twice_and_after_the_end_is_no_error() -> None:
    searches = Searches(native(model_of()))
    first, second = searches.join([[4], [5]], [NativeSearch(BOS, EOS, 2)] * 2, limits=[1, 30])
    assert [ticket for ticket, _ in searches.step()] == [first]
    for ticket in (first, second, second, 99):
        searches.leave(ticket)
    assert (len(searches), searches.tickets, searches.step(), searches.step()) == (0, [], [], [])
    (third,) = searches.join([[4]], [NativeSearch(BOS, EOS)], limits=[3])
    searches.leave(third)  # before it has a row
    assert searches.step() == []


def test_a_greedy_text_can_be_looked_at_while_it_grows() -> None:
    model, search = native(model_of()), NativeSearch(BOS, EOS, at_least=9)
    searches = Searches(model)
    (ticket,) = searches.join([[4, 5, 6]], [search], limits=[9])
    seen = []
    while searches.tickets:
        seen.append(searches.settled(ticket))
        outcome = searches.step()
    (found,) = alone(model, [4, 5, 6], search, 9)
    assert isinstance(found, NativeHypothesis)
    assert seen == [found.ids[:count] for count in range(9)]
    assert outcome == [(ticket, [found])]


@pytest.mark.parametrize(("beam", "n_best"), [(2, 1), (4, 1), (4, 3)])
def test_what_is_settled_of_a_search_stays(beam: int, n_best: int) -> None:
    """It only grows, all that is found begins with it, and it is there before the end."""
    early = 0
    for seed in range(12):
        model = native(model_of(seed))
        sources = random_rows([3, 8, 5], seed=seed)
        search = NativeSearch(BOS, EOS, beam, n_best=n_best)
        searches, seen, found = Searches(model), dict[int, list[list[int]]](), dict[int, Any]()
        for ticket in searches.join(sources, [search] * 3, limits=[20] * 3):
            seen[ticket] = []
        while searches.tickets:
            for ticket in searches.tickets:
                seen[ticket].append(searches.settled(ticket))
            found |= dict(searches.step())
        for ticket, settled in seen.items():
            for before, after in itertools.pairwise(settled):
                assert after[: len(before)] == before
            for hypothesis in found[ticket]:
                assert hypothesis.ids[: len(settled[-1])] == settled[-1]
            early += any(settled[: len(settled) // 2 + 1])
    assert early > 0, "and half-way, of some"


def test_several_searches_at_the_same_time() -> None:
    """They take turns at the pool of threads."""
    torch.manual_seed(0)
    model, search = native(model_of()), NativeSearch(BOS, EOS, 3)
    sources = random_rows([3, 8, 5, 9, 2, 7] * 4, seed=3)
    expected = [alone(model, source, search, 20) for source in sources]
    results: list[Any] = []

    def run() -> None:
        searches = Searches(model, 3)
        tickets = searches.join(sources, [search] * len(sources), limits=[20] * len(sources))
        found = ended(searches)
        results.append([found[ticket] for ticket in tickets])

    callers = [threading.Thread(target=run) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert results == [expected] * 3


def test_what_is_dropped_half_way_is_freed() -> None:
    for _ in range(3):
        searches = Searches(native(model_of()), 2)
        searches.join([[4, 5]] * 5, [NativeSearch(BOS, EOS, 4)] * 5, limits=[30, 1, 30, 1, 30])
        searches.step()
        searches.join([[4]], [NativeSearch(BOS, EOS, 4)], limits=[30])
        del searches
        gc.collect()
