"""Whole native loops find the hypotheses of ``beam_search``, in any company and by any number of threads."""

from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clearhead.decode.decoding import CachedDecoding, Decoding, Shortlisted
from clearhead.decode.hypotheses import Hypothesis, SearchConfig, TextOf
from clearhead.decode.native import native_search, native_text_search
from clearhead.decode.rows import PromptedDecoding, RowsDecoding
from clearhead.decode.rules import at_least, forbid, force_prefix
from clearhead.decode.sampler import Sampler
from clearhead.decode.search import beam_search
from clearhead.decode.whole import whole_characters
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.search import NativeSearch
from clearhead.engine.weights.packing import Weights
from clearhead.errors import ModelError
from clearhead.models.transformer import Transformer
from clearhead.text.characters import characters_of
from tests.native import KERNELS, NATIVE, native
from tests.small import padded, random_rows, small, small_gpt

pytestmark = NATIVE
BOS, EOS = 1, 2
SPELLINGS = [b"", b"", b"", b"a", b"\xe6", b"\x88", b"\x91", b"\xe6\x88", b"\xf0\x9f", b"\x98\x80", b"b\xc3", b"\xa9"]
"""Of pieces, some of which are parts of characters."""


def model_of(vocab: int, sharp: float, seed: int) -> Transformer:
    """Returns a model that ends after some pieces; the sharper, the less do hypotheses compete."""
    model = small(vocab_size=vocab, seed=seed)
    model.lm_head.weight.data *= sharp
    return model


def by_steps(
    model: Transformer, sources: list[list[int]], config: SearchConfig, limits: list[int], **rules: Any
) -> Any:
    src, mask = padded(sources)
    prefixes, forbidden = rules.get("prefixes") or [[]] * len(sources), rules.get("forbidden", ())
    applied = [forbid(forbidden), at_least(rules.get("at_least", 0), EOS), force_prefix(prefixes)]
    with torch.inference_mode():
        decoding: Decoding = CachedDecoding(model, src, mask, beam=config.beam)
    if lists := rules.get("shortlists"):
        decoding = Shortlisted(decoding, lists, vocab=model.vocab_size, beam=config.beam)
    text_of = rules.get("text_of")
    return beam_search(decoding, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=applied, text_of=text_of)


def whole(
    model: Transformer,
    sources: list[list[int]],
    config: SearchConfig,
    limits: list[int],
    kernels: str | None = None,
    threads: int = 1,
    text_of: TextOf | None = None,
    **rules: Any,
) -> list[list[Hypothesis]]:
    given: Any = {"limits": limits, "threads": threads, "text_of": text_of}
    given |= {name: rules.pop(name, ()) for name in ("prefixes", "shortlists")}
    search = NativeSearch(BOS, EOS, config.beam, config.length_penalty, n_best=config.n_best, **rules)
    return native_search(native(model, kernels), sources, config, search, **given)


def same(actual: list[list[Hypothesis]], expected: list[list[Hypothesis]]) -> None:
    for found, wanted in zip(actual, expected, strict=True):
        assert [(each.ids, each.complete, each.cut_better) for each in found] == [
            (each.ids, each.complete, each.cut_better) for each in wanted
        ]
        for one, other in zip(found, wanted, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
            assert one.rank_score == pytest.approx(other.rank_score, abs=1e-4)


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 3, 5, 8]),
    st.sampled_from([0.0, 0.6, 1.0, 2.0]),
    st.sampled_from([7, 13]),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.integers(0, 5),
    st.data(),
)
def test_hypotheses_are_those_of_beam_search(
    kernels: str, beam: int, penalty: float, vocab: int, sharp: float, seed: int, data: st.DataObject
) -> None:
    model, draw = model_of(vocab, sharp, seed), torch.Generator().manual_seed(seed)
    sources = [torch.randint(3, vocab, (length,), generator=draw).tolist() for length in (4, 1, 7, 2)]
    limits = data.draw(st.lists(st.integers(1, 12), min_size=4, max_size=4))
    rules = data.draw(
        st.fixed_dictionaries(
            {
                "forbidden": st.sampled_from([(), (0,), (0, 1, 3)]),
                "at_least": st.integers(0, 4),
                "prefixes": st.sampled_from([(), [[], [4, 5], [3], []]]),
            }
        )
    )
    config = SearchConfig(beam=beam, length_penalty=penalty)
    same(whole(model, sources, config, limits, kernels, **rules), by_steps(model, sources, config, limits, **rules))


def as_read(ids: list[int]) -> tuple[int, ...]:
    """What a reader might see: some pieces are invisible, and two look alike."""
    return tuple(piece // 2 for piece in ids if piece != 5)


@pytest.mark.unchecked
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.sampled_from([None, as_read, as_read]),
    st.sampled_from([2, 3, 5, 9]),
    st.sampled_from([1, 2, 3, 9]),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from([7, 13]),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.integers(0, 9),
    st.lists(st.integers(1, 12), min_size=4, max_size=4),
)
def test_several_hypotheses_are_those_of_beam_search(
    text_of: TextOf | None,
    beam: int,
    n_best: int,
    penalty: float,
    vocab: int,
    sharp: float,
    seed: int,
    limits: list[int],
) -> None:
    model, draw = model_of(vocab, sharp, seed), torch.Generator().manual_seed(seed)
    sources = [torch.randint(3, vocab, (length,), generator=draw).tolist() for length in (4, 1, 7, 2)]
    config = SearchConfig(beam=beam, n_best=min(n_best, beam), length_penalty=penalty)
    rules: dict[str, Any] = {"forbidden": (0,), "text_of": text_of}
    found = whole(model, sources, config, limits, threads=1 + seed % 2, **rules)
    same(found, by_steps(model, sources, config, limits, **rules))


@pytest.mark.unchecked
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sampled_from([1, 2, 5]), st.integers(0, 20), st.lists(st.integers(1, 9), min_size=3, max_size=3))
def test_characters_are_whole(beam: int, seed: int, limits: list[int]) -> None:
    characters = characters_of(SPELLINGS)
    assert characters is not None
    model, sources = model_of(len(SPELLINGS), 2.0, seed), [[4, 5], [7], [3, 3, 3]]
    config = SearchConfig(beam=beam)
    src, mask = padded(sources)
    with torch.inference_mode():
        decoding = CachedDecoding(model, src, mask, beam=beam)
    rules = [forbid((0, 1)), *whole_characters(characters, limits)]
    expected = beam_search(decoding, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=rules)
    found = whole(model, sources, config, limits, forbidden=(0, 1), characters=characters)
    same(found, expected)
    for ranked in found:
        b"".join(SPELLINGS[piece] for piece in ranked[0].ids).decode()


@pytest.mark.parametrize("beam", [1, 5])
def test_company_and_threads_change_nothing(beam: int) -> None:
    model, config = model_of(13, 1.0, 0), SearchConfig(beam=beam)
    sources = random_rows([5, 2, 9, 1, 4] * 8, seed=4)
    limits = [length % 11 + 1 for length in range(40)]
    together = whole(model, sources, config, limits)
    assert len({tuple(ranked[0].ids) for ranked in together}) > 10
    for threads in (2, 4):
        assert whole(model, sources, config, limits, threads=threads) == together
    for number in (0, 7, 39):
        assert whole(model, [sources[number]], config, [limits[number]]) == [together[number]]


def test_what_cannot_be_is_one_line() -> None:
    model, config = model_of(13, 1.0, 0), SearchConfig(beam=2)
    with pytest.raises(ModelError, match=r"^limit = 65: must be from 1 to 64$"):
        whole(model, [[4]], config, [65])
    with pytest.raises(ModelError, match=r"^limit = 0: must be at least 1$"):
        whole(model, [[4]], config, [0])
    with pytest.raises(ModelError, match=r"^piece 13: must be from 0 to 12$"):
        whole(model, [[4], [13]], config, [5, 5])
    with pytest.raises(ModelError, match=r"^piece -1: must be from 0 to 12$"):
        whole(model, [[4]], config, [5], forbidden=[-1])
    model.lm_head.weight.data[3] = float("nan")
    with pytest.raises(ModelError, match=r"^NaN among the logits$"):
        whole(model, [[4]] * 40, config, [5] * 40, threads=2)
    rounded = native(model, None, "int8")
    with pytest.raises(ModelError, match=r"^NaN among the logits$"):
        native_search(rounded, [[3]], config, NativeSearch(BOS, EOS, 2), limits=[5])
    with pytest.raises(ValueError, match=r"^n_best, beam and length_penalty = \(2, 2, 1.0\): must be what"):
        native_search(native(model), [[4]], SearchConfig(beam=2, n_best=2), NativeSearch(BOS, EOS, 2), limits=[5])


def test_where_no_piece_is_left_there_is_no_hypothesis() -> None:
    model = model_of(7, 1.0, 0)
    assert whole(model, [[4]], SearchConfig(beam=2), [5], forbidden=list(range(7))) == [[]]


def test_no_sources() -> None:
    assert whole(model_of(7, 1.0, 0), [], SearchConfig(beam=2), []) == []


@pytest.mark.unchecked
@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 5, 9]),
    st.sampled_from([1, 3]),
    st.sampled_from([None, as_read]),
    st.sampled_from([0, 2, 3]),
    st.sampled_from([(), (3, 4)]),
    st.integers(0, 3),
    st.integers(0, 20),
    st.lists(st.integers(1, 14), min_size=4, max_size=4),
)
def test_texts_after_prompts_are_those_of_beam_search(
    beam: int,
    n_best: int,
    text_of: TextOf | None,
    ngram: int,
    ends: tuple[int, ...],
    least: int,
    seed: int,
    limits: list[int],
) -> None:
    """Windows slide; penalties and bans are those of sampling; a prompt may be longer than the context."""
    model, config = small_gpt(seed=seed, max_seq_len=8), SearchConfig(beam=beam, n_best=min(n_best, beam))
    for weight in model.parameters():
        weight.data *= 0.5
    prompts = [[5, 6], [EOS, 9, 4], [7], [4, 5, 6, 7, 8, 9, 10, 11, 12, 5]]
    settings = SamplingConfig(no_repeat_ngram=ngram, repetition_penalty=1.2, frequency_penalty=0.1)
    sampler = Sampler(settings, EOS, forbidden=(0, 1), min_length=least, ends=ends, limit=max(limits))
    expected = beam_search(
        PromptedDecoding(partial(RowsDecoding, model), prompts, beam=beam),
        config,
        limits=limits,
        bos_id=EOS,
        eos_id=EOS,
        rules=[sampler.rule(prompts)],
        text_of=text_of,
    )
    threads = 1 + seed % 2
    found = native_text_search(native(model), prompts, config, sampler, limits=limits, threads=threads, text_of=text_of)
    same(found, expected)
    alone = native_text_search(native(model), prompts[3:], config, sampler, limits=limits[3:], text_of=text_of)
    assert alone == found[3:]


def drawn_lists(count: int, vocab: int, seed: int) -> list[NDArray[np.int32]]:
    """Returns a shortlist for each of so many sources: few pieces or many, with the end mark."""
    draw = np.random.default_rng(seed)
    lists = []
    for _ in range(count):
        pieces = draw.choice(vocab, draw.integers(1, vocab + 1), replace=False)
        lists.append(np.unique([EOS, *pieces]).astype(np.int32))
    return lists


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 2, 5, 8]),
    st.sampled_from([1, 3]),
    st.sampled_from([7, 13, 50]),
    st.sampled_from([0.5, 1.0, 3.0]),
    st.integers(0, 9),
    st.lists(st.integers(1, 12), min_size=4, max_size=4),
    st.data(),
)
def test_within_shortlists_hypotheses_are_those_of_beam_search(
    kernels: str, beam: int, n_best: int, vocab: int, sharp: float, seed: int, limits: list[int], data: st.DataObject
) -> None:
    model, draw = model_of(vocab, sharp, seed), torch.Generator().manual_seed(seed)
    sources = [torch.randint(3, vocab, (length,), generator=draw).tolist() for length in (4, 1, 7, 2)]
    rules = data.draw(
        st.fixed_dictionaries(
            {
                "forbidden": st.sampled_from([(), (0,), (0, 1, 3)]),
                "at_least": st.integers(0, 4),
                "prefixes": st.sampled_from([(), [[], [4, 5], [3], []]]),
            }
        )
    )
    lists, config = drawn_lists(4, vocab, seed), SearchConfig(beam=beam, n_best=min(n_best, beam))
    found = whole(model, sources, config, limits, kernels, shortlists=lists, **rules)
    same(found, by_steps(model, sources, config, limits, shortlists=lists, **rules))


@pytest.mark.parametrize("weights", get_args(Weights))
@pytest.mark.parametrize("beam", [1, 5])
def test_a_shortlist_is_its_source_s_own(beam: int, weights: Weights) -> None:
    """No bit depends on the lists of other sources, or on threads; a list of all pieces is as good as none."""
    model, config = model_of(50, 1.0, 0), SearchConfig(beam=beam)
    model.lm_head.weight.data[17:21] *= 3
    sources = random_rows([5, 2, 9, 1, 4] * 8, seed=4)
    limits, lists = [length % 11 + 1 for length in range(40)], drawn_lists(40, 50, 3)
    packed = native(model, None, weights)

    def searched(rows: list[int], shortlists: list[NDArray[np.int32]], threads: int = 1) -> list[list[Hypothesis]]:
        given: Any = {"limits": [limits[row] for row in rows], "shortlists": shortlists, "threads": threads}
        return native_search(packed, [sources[row] for row in rows], config, NativeSearch(BOS, EOS, beam), **given)

    rows = [*range(40)]
    together = searched(rows, lists)
    assert all(set(ranked[0].ids) <= {*lists[row].tolist()} for row, ranked in enumerate(together))
    assert len({tuple(ranked[0].ids) for ranked in together}) > 10
    for threads in (2, 4):
        assert searched(rows, lists, threads) == together
    for row in (0, 7, 39):
        assert searched([row], [lists[row]]) == [together[row]]
    everything = np.arange(50, dtype=np.int32)
    assert searched(rows, [everything] * 40) == searched(rows, [])
    mixed = searched(rows, [lists[row] if row % 2 else everything for row in rows])
    assert mixed == [together[row] if row % 2 else one for row, one in enumerate(searched(rows, []))]


@pytest.mark.unchecked
@pytest.mark.parametrize("beam", [1, 5])
def test_within_shortlists_characters_are_whole(beam: int) -> None:
    characters = characters_of(SPELLINGS)
    assert characters is not None
    config, sources, limits = SearchConfig(beam=beam), [[4, 5], [7], [3, 3, 3], [9]], [9, 5, 7, 3]
    for seed in range(12):
        model, lists = model_of(len(SPELLINGS), 2.0, seed), drawn_lists(4, len(SPELLINGS), seed)
        src, mask = padded(sources)
        with torch.inference_mode():
            decoding = CachedDecoding(model, src, mask, beam=beam)
        short = Shortlisted(decoding, lists, vocab=len(SPELLINGS), beam=beam)
        rules = [forbid((0, 1)), *whole_characters(characters, limits)]
        expected = beam_search(short, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=rules)
        found = whole(model, sources, config, limits, forbidden=(0, 1), characters=characters, shortlists=lists)
        same(found, expected)


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ([2, 13], "a shortlist with piece 13: must be from 0 to 12"),
        ([-1, 2], "a shortlist with piece -1: must be from 0 to 12"),
        ([2, 2], "a shortlist with piece 2 after 2: must ascend"),
        ([4, 2], "a shortlist with piece 2 after 4: must ascend"),
        ([], "a shortlist of 0 pieces: must have at least 1"),
    ],
)
def test_a_wrong_shortlist_is_one_line(pieces: list[int], reason: str) -> None:
    lists = [np.array([2, 4], np.int32), np.array(pieces, np.int32)]
    with pytest.raises(ModelError, match=f"^{reason}$"):
        whole(model_of(13, 1.0, 0), [[4], [5]], SearchConfig(beam=2), [5, 5], shortlists=lists)
