"""Phrases by the native engine: the hypotheses of ``decode.constraints``, in any company."""

import gc
import random
import time
import weakref
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.decode.constraints import Constraints, avoid
from clearhead.decode.decoding import CachedDecoding, Decoding, Shortlisted
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.native import native_search
from clearhead.decode.rules import Rule, forbid, force_prefix
from clearhead.decode.search import beam_search
from clearhead.engine.loops.phrases import told
from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.engine.loops.searches import Searches
from clearhead.errors import ModelError
from clearhead.models.transformer import Transformer
from clearhead.text.phrase import Spellings
from clearhead.text.phrase_book import Demand
from tests.native import KERNELS, NATIVE, native
from tests.small import padded, small, small_gpt

pytestmark = NATIVE
BOS, EOS, VOCAB = 1, 2, 13
PIECES = [b"", b"", b"", b" a", b"b", b" ab", b"ba", b" ", b"a", b"c", b" c", b"cab", b"bc"]
SPELLINGS = Spellings(PIECES)
PHRASES = [b"a", b"ab", b"abc", b"c", b"ba c", b"bab", b"cc"]


def model_of(seed: int, sharp: float = 2.0) -> Transformer:
    model = small(vocab_size=VOCAB, seed=seed)
    model.lm_head.weight.data *= sharp
    return model


def rows(count: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)
    return [[draw.randrange(3, VOCAB) for _ in range(draw.randrange(1, 6))] for _ in range(count)]


def demand(required: list[bytes], avoided: list[bytes]) -> Demand:
    found = {phrase.decode(): SPELLINGS.automaton([phrase]) for phrase in required}
    return Demand(found, SPELLINGS.automaton(avoided) if avoided else None)


def by_steps(
    model: Transformer,
    sources: list[list[int]],
    config: SearchConfig,
    limits: list[int],
    demands: list[Demand],
    prefixes: list[list[int]],
    shortlists: Any = (),
) -> list[list[Hypothesis]]:
    src, mask = padded(sources)
    rules: list[Rule] = [forbid([0, BOS]), force_prefix(prefixes)]
    if any(each.avoided for each in demands):
        avoided = [[each.avoided] if each.avoided else [] for each in demands]
        rules.append(avoid(avoided, given=[len(prefix) for prefix in prefixes]))
    constraints = None
    if any(each.required for each in demands):
        constraints = Constraints([list(each.required.values()) for each in demands], eos_id=EOS)
    with torch.inference_mode():
        decoding: Decoding = CachedDecoding(model, src, mask, beam=config.beam)
    if shortlists:
        decoding = Shortlisted(decoding, shortlists, vocab=VOCAB, beam=config.beam)
    own: Any = {"limits": limits, "bos_id": BOS, "eos_id": EOS, "rules": rules}
    return beam_search(decoding, config, **own, constraints=constraints)


def kept(found: list[list[Hypothesis]]) -> Any:
    return [[(each.ids, each.complete, each.cut_better) for each in ranked] for ranked in found]


phrases = st.lists(st.sampled_from(PHRASES), max_size=3, unique=True)


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_phrases_give_the_hypotheses_of_the_search_by_steps(kernels: str, data: st.DataObject) -> None:
    model, count = model_of(data.draw(st.integers(0, 9)), data.draw(st.sampled_from([0.5, 2.0]))), 4
    beam, limit = data.draw(st.integers(2, 7)), data.draw(st.integers(2, 9))
    config = SearchConfig(beam, data.draw(st.integers(1, beam)), data.draw(st.sampled_from([0.0, 1.0])))
    sources = rows(count, data.draw(st.integers(0, 99)))
    demands = [demand(data.draw(phrases), data.draw(phrases)) for _ in sources]
    prefixes = [data.draw(st.sampled_from([[], [3], [3, 4]])) for _ in sources]
    limits = [limit + place for place in range(count)]
    search = NativeSearch(BOS, EOS, config.beam, config.length_penalty, forbidden=(0, BOS), n_best=config.n_best)
    own: Any = {"limits": limits, "demands": demands, "prefixes": prefixes}
    found = native_search(native(model, kernels), sources, config, search, **own, threads=2)
    wanted = by_steps(model, sources, config, **own)
    assert kept(found) == kept(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


def test_what_is_required_is_there_and_what_is_avoided_is_not() -> None:
    required, avoided = demand([b"ba c", b"cc"], []), demand([b"c"], [b"a", b"bab"])
    sources, config = rows(2, 1), SearchConfig(6)
    search = NativeSearch(BOS, EOS, 6, forbidden=(0, BOS))
    own: Any = {"limits": [16, 16], "demands": [required, avoided]}
    found = native_search(native(model_of(3)), sources, config, search, **own)
    first, second = (b"".join(PIECES[piece] for piece in ranked[0].ids) for ranked in found)
    assert required.unmet([found[0][0].ids]) == []
    assert b"ba c" in first
    assert avoided.avoided is not None
    assert not avoided.avoided.contains(found[1][0].ids)
    assert b"c" in second.split()


def test_phrases_keep_to_a_shortlist() -> None:
    sources, config = rows(3, 4), SearchConfig(4)
    demands = [demand([b"ab"], []), demand([], [b"a"]), demand([], [])]
    lists = [sorted({EOS, 3, 7, 9, *each.spelling}) for each in demands]
    shortlists: Any = [torch.tensor(each, dtype=torch.int32).numpy() for each in lists]
    own: Any = {"limits": [8, 8, 8], "demands": demands, "shortlists": shortlists, "prefixes": [[], [], []]}
    search = NativeSearch(BOS, EOS, 4, forbidden=(0, BOS))
    found = native_search(native(model_of(5)), sources, config, search, **own)
    assert kept(found) == kept(by_steps(model_of(5), sources, config, **own))
    assert all(set(ranked[0].ids) <= set(allowed) for ranked, allowed in zip(found, lists, strict=True))


@pytest.mark.parametrize("threads", [1, 2])
def test_sources_with_phrases_come_and_go_as_if_alone(threads: int) -> None:
    model, search = native(model_of(7)), NativeSearch(BOS, EOS, 5, 0.6, forbidden=(0, BOS), n_best=2)
    sources = rows(12, 2)
    wanted = [[b"ab"], [], [b"ba c", b"cc"], [b"c"]]
    demands = [demand(wanted[k % 4], [b"bab"] if k % 3 == 0 else []) for k in range(len(sources))]
    searches, found, tickets = Searches(model, threads), dict[int, Any](), dict[int, int]()
    for place, (source, asked) in enumerate(zip(sources, demands, strict=True)):
        (ticket,) = searches.join([source], [search], limits=[9], demands=[asked])
        tickets[ticket] = place
        found.update(searches.step())
        if place == 5:
            gone = searches.tickets[0]
            searches.leave(gone)
            del tickets[gone]
    while searches.tickets:
        found.update(searches.step())
    assert set(found) == set(tickets)
    for ticket, place in tickets.items():
        assert found[ticket] == translate(model, [sources[place]], search, limits=[9], demands=[demands[place]])[0]


def test_many_phrases_take_little_beside_their_beam() -> None:
    """Turns in time that grows with the candidates, not with their square."""
    words = [f" w{number:03}x".encode() for number in range(100)]
    spellings, model = Spellings([b"", b"", b"", *words]), native(small(vocab_size=103, seed=1))
    many = Demand({str(place): spellings.automaton([word[1:]]) for place, word in enumerate(words[:60])})
    search = NativeSearch(BOS, EOS, 5 + many.pieces, forbidden=(0, BOS))

    def seconds(asked: Demand) -> float:
        start = time.process_time()
        translate(model, [[5, 6, 7]], search, limits=[20], demands=[asked])
        return time.process_time() - start

    free, asked = (min(seconds(each) for _ in range(3)) for each in (Demand(), many))
    assert asked < 10 * free


def test_what_cannot_be_asked_for_is_said() -> None:
    model, asked = native(model_of(0)), [demand([b"a"], [])]
    with pytest.raises(ModelError, match="beam = 1: must be at least 2 with required phrases"):
        translate(model, [[5]], NativeSearch(BOS, EOS), limits=[4], demands=asked)
    with pytest.raises(ValueError, match="a phrase of 13 pieces: must be of the model's 20"):
        translate(native(small(vocab_size=20)), [[5]], NativeSearch(BOS, EOS, 2), limits=[4], demands=asked)
    with pytest.raises(ValueError, match="must be one for each of 2 sources"):
        translate(model, [[5], [6]], NativeSearch(BOS, EOS, 2), limits=[4, 4], demands=asked)
    writer = native(small_gpt(vocab_size=VOCAB))
    with pytest.raises(ModelError, match="phrases: are for the sources of a model with an encoder"):
        translate(writer, [[5]], NativeSearch(BOS, EOS, 2), limits=[4], demands=asked)


def test_an_automaton_is_told_once_and_as_long_as_it_lives() -> None:
    automaton = SPELLINGS.automaton([b"ab"])
    known, gone = told(automaton, required=True), weakref.ref(automaton)
    assert told(automaton, required=True) is known
    del automaton
    gc.collect()
    assert gone() is None


def test_ways_to_a_phrase_to_avoid_are_not_looked_for() -> None:
    avoided = demand([], [b"a", b"bab"])
    translate(native(model_of(0)), [[5]], NativeSearch(BOS, EOS, 2), limits=[4], demands=[avoided])
    assert avoided.avoided is not None
    assert "left" in vars(avoided.avoided)
    assert "ways" not in vars(avoided.avoided)


@pytest.mark.parametrize(
    ("place", "begin", "why"),
    [(0, 1, "begin at 1: must begin at 0"), (1, -1, "in state 0 end before"), (-2, 99, "in state . end before")],
)
def test_ways_that_do_not_follow_one_another_are_refused(place: int, begin: int, why: str) -> None:
    asked = demand([b"ab"], [])
    told(asked.required["ab"], required=True)._arrays[-1][place] = begin
    with pytest.raises(ModelError, match=f"the ways of a phrase {why}"):
        translate(native(model_of(0)), [[5]], NativeSearch(BOS, EOS, 2), limits=[4], demands=[asked])
