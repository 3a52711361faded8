"""Beam search against brute force and a plain search to the limit; greedy; scores; who leaves when."""

import functools
import math
import threading
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from clearhead.decode.decoding import Decoding, start_decoding
from clearhead.decode.hypotheses import Hypothesis, SearchConfig, penalty_of
from clearhead.decode.rules import Rule, force_prefix
from clearhead.decode.search import beam_search, search_steps
from clearhead.models.transformer import Transformer
from tests.small import padded, random_rows, small
from tests.table import BOS, EOS, Ids, Table, brute_force


def search(decoding: Decoding, config: SearchConfig, limits: list[int], rules: Sequence[Rule] = ()):
    return beam_search(decoding, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=rules)


def to_the_limit(table: Table, config: SearchConfig, limit: int, sentence: int = 0) -> list[tuple[Ids, float]]:
    """A beam search in plain Python that never stops early: (pieces, rank score), best first."""
    live: list[tuple[float, Ids]] = [(0.0, ())]
    pool: list[tuple[float, Ids]] = []
    for length in range(1, limit + 1):
        tried = [
            (score + value, (*ids, piece))
            for score, ids in live
            for piece, value in enumerate(table.log_probs(sentence, (BOS, *ids)))
        ]
        tried.sort(key=lambda one: -one[0])
        ends = [one for one in tried[: config.beam] if one[1][-1] == EOS]
        pool += [(score / penalty_of(length, config.length_penalty), ids[:-1]) for score, ids in ends]
        live = [one for one in tried if one[1][-1] != EOS][: config.beam]
    pool.sort(key=lambda one: -one[0])
    rest = [(score / penalty_of(limit, config.length_penalty), ids) for score, ids in live]
    return [(ids, score) for score, ids in (pool + rest)[: config.n_best]]


def same(found: list[Hypothesis], expected: Sequence[tuple[Ids, float]]) -> None:
    assert [tuple(one.ids) for one in found] == [ids for ids, *_ in expected]
    assert [one.rank_score for one in found] == pytest.approx([one[1] for one in expected], abs=1e-5)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("seed", range(4))
def test_full_width_equals_brute_force(seed: int, penalty: float) -> None:
    beam = 3**3 * 4  # as many as there are candidates at the last step
    config = SearchConfig(beam=beam, n_best=60, length_penalty=penalty)
    table = Table([0], beam, seed=seed)
    (found,) = search(table, config, [4])
    expected = brute_force(table, 4, penalty)[:60]
    same(found, [one[:2] for one in expected])
    assert [one.complete for one in found] == [one[2] for one in expected]


def test_full_width_equals_brute_force_on_a_transformer() -> None:
    vocab, limit = 5, 3
    model = small(vocab_size=vocab, seed=3)
    source = torch.tensor([[3, 4, 3, 1]])
    decoding = start_decoding(model, source, None, beam=80)
    (found,) = search(decoding, SearchConfig(80, 30), [limit])

    class Model(Table):
        @functools.cache  # noqa: B019
        def log_probs(self, sentence: int, history: Ids) -> list[float]:
            with torch.inference_mode():
                return model(source, torch.tensor([history]))[0, -1].log_softmax(-1).tolist()

    same(found, [one[:2] for one in brute_force(Model([0], 1, vocab=vocab), limit, 1.0)[:30]])


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("n_best", [1, 3])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
def test_stopping_early_changes_no_hypothesis_that_is_returned(penalty: float, n_best: int) -> None:
    limit, steps = 12, []
    for seed in range(24):
        config = SearchConfig(beam=3 + seed % 3, n_best=n_best, length_penalty=penalty)
        table = Table([0], config.beam, seed=seed, vocab=4, scale=4.0)
        (found,) = search(table, config, [limit])
        same(found, to_the_limit(table, config, limit))
        steps.append(len(table.present))
    assert min(steps) < limit, "no search stopped early: the test shows nothing"


def test_greedy_is_the_chain_of_best_pieces() -> None:
    for seed in range(20):
        table = Table([0], 1, seed=seed, vocab=5, scale=1.0)
        (found,) = search(table, SearchConfig(beam=1), [10])
        ids: Ids = ()
        while len(ids) < 10 and ids[-1:] != (EOS,):
            values = table.log_probs(0, (BOS, *ids))
            ids = (*ids, values.index(max(values)))
        assert tuple(found[0].ids) == (ids[:-1] if ids[-1] == EOS else ids)
        assert found[0].complete is (ids[-1] == EOS)


def test_ranks_are_sorted_and_hypotheses_distinct() -> None:
    for seed in range(20):
        (found,) = search(Table([0], 6, seed=seed, vocab=7), SearchConfig(6, 6), [8])
        ranks = [(not one.complete, -one.rank_score) for one in found]
        assert ranks == sorted(ranks)
        assert len({tuple(one.ids) for one in found}) == len(found)
        for one in found:
            assert one.score == pytest.approx(math.fsum(one.log_probs), abs=1e-9)
            assert one.rank_score == pytest.approx(one.score / penalty_of(len(one.log_probs), 1.0))
            assert len(one.log_probs) == len(one.ids) + one.complete


def test_a_batch_gives_what_each_sentence_gives_alone_and_who_is_done_leaves() -> None:
    config, limits = SearchConfig(3, 2), [2, 9, 5, 7, 9, 1]
    together = Table(range(6), 3, seed=5, vocab=6)
    found = search(together, config, limits)
    for sentence, limit in enumerate(limits):
        alone = Table([sentence], 3, seed=5, vocab=6)
        assert search(alone, config, [limit]) == [found[sentence]]
        assert sum(sentence in present for present in together.present) == len(alone.present) <= limit
    assert len(together.present[-1]) < 6


def test_without_an_end_mark_a_hypothesis_is_incomplete() -> None:
    def never(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        scores[:, :, EOS] = float("-inf")

    for beam in (1, 4):
        (found,) = search(Table([0], beam), SearchConfig(beam), [5], [never])
        assert (len(found), len(found[0].ids), found[0].complete) == (1, 5, False)


def test_a_forced_prefix_keeps_the_probabilities_of_the_model() -> None:
    table = Table([0, 1], 4, vocab=6)
    found = search(table, SearchConfig(4, 4), [7, 7], [force_prefix([[3, 2, 5], []])])
    free = search(Table([1], 4, vocab=6), SearchConfig(4, 4), [7])
    assert all(one.ids[:3] == [3, 2, 5] for one in found[0])
    assert [one.ids for one in found[1]] == [one.ids for one in free[0]]
    for one in found[0]:
        path = [BOS, *one.ids, *[EOS] * one.complete]
        expected = [table.log_probs(0, tuple(path[: at + 1]))[path[at + 1]] for at in range(len(path) - 1)]
        assert one.log_probs == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("beam", [1, 5])
def test_scores_are_those_of_the_model_with_all_targets_given(beam: int) -> None:
    model, rows = small(seed=1), random_rows([3, 9, 1, 6])
    ids, mask = padded(rows)
    decoding = start_decoding(model, ids, mask, beam=beam)
    found = search(decoding, SearchConfig(beam, beam), [12] * 4)
    for row, ranked in zip(rows, found, strict=True):
        for one in ranked:
            assert one.log_probs == pytest.approx(teacher_forced(model, row, one), abs=1e-5)
            assert one.score == pytest.approx(math.fsum(one.log_probs), abs=1e-5)


def teacher_forced(model: Transformer, source: list[int], found: Hypothesis) -> list[float]:
    targets = torch.tensor([*found.ids, *[EOS] * found.complete])
    with torch.inference_mode():
        given = torch.cat([torch.tensor([BOS]), targets[:-1]])
        logits = model(torch.tensor([source]), given[None])[0]
    return logits.log_softmax(-1).gather(1, targets[:, None])[:, 0].tolist()


def test_the_length_penalty_is_that_of_the_paper() -> None:
    """Wu et al. 2016, equation 14: ((5 + length) / 6) ** alpha."""
    assert [penalty_of(1, 0.6), penalty_of(7, 1.0), penalty_of(19, 0.5), penalty_of(9, 0.0)] == pytest.approx(
        [1, 2, 2, 1]
    )


def test_no_sentences_and_an_n_best_above_the_beam() -> None:
    assert search(Table([], 2), SearchConfig(2), []) == []
    with pytest.raises(ValueError, match="n_best = 3: must be at most beam = 2"):
        SearchConfig(beam=2, n_best=3)


def test_steps_leave_no_mode_behind_in_any_thread() -> None:
    """One thread starts the search, another goes on with it and ends it."""
    modes: list[bool] = []
    steps = search_steps(
        start_decoding(small(), *padded(random_rows([5, 7])), beam=2),
        SearchConfig(2, 2),
        limits=[9, 9],
        bos_id=BOS,
        eos_id=EOS,
        rules=[lambda scores, ids, sentences: modes.append(torch.is_inference_mode_enabled())],
    )

    def run(*actions: Callable[[], object]) -> None:
        for action in actions:
            action()
            modes.append(torch.is_inference_mode_enabled())

    def elsewhere() -> None:
        run(lambda: next(steps), steps.close)

    run(lambda: next(steps))
    other = threading.Thread(target=elsewhere)
    other.start()
    other.join(timeout=60)
    run(lambda: None)
    assert modes == [True, False, True, False, False, False]
    with pytest.raises(StopIteration):
        next(steps)


def test_several_differ_as_texts_and_the_best_of_each_is_kept() -> None:
    """Against brute force: pieces 2 and 3 read alike, so the best of each text is found, filled up from the beam."""

    def reads(ids: Sequence[int]) -> str:
        return "".join("xyzz"[piece] for piece in ids)

    beam = 3**3 * 4
    for seed in range(3):
        table = Table([0], beam, seed=seed)
        config = SearchConfig(beam, 25)
        (found,) = beam_search(table, config, limits=[4], bos_id=BOS, eos_id=EOS, text_of=reads)
        best: dict[str, tuple[Ids, float]] = {}
        for ids, rank_score, _ in brute_force(table, 4, 1.0):
            best.setdefault(reads(ids), (ids, rank_score))
        same(found, list(best.values())[:25])
        assert len({reads(one.ids) for one in found}) == 25


def test_one_is_the_same_whatever_reads_alike() -> None:
    for seed in range(4):
        plain, alike = (
            beam_search(Table([0], 3, seed=seed), SearchConfig(3), limits=[7], bos_id=BOS, eos_id=EOS, text_of=text_of)
            for text_of in (None, len)
        )
        assert plain == alike


def test_a_better_one_that_the_limit_cut_is_told() -> None:
    """Against brute force: a complete hypothesis goes first, and says so where a cut one has the better rank score."""
    beam, marked, all_of = 3**3 * 4, 0, 0
    for seed in range(12):
        table = Table([0], beam, seed=seed)
        (found,) = search(table, SearchConfig(beam, 20), [4])
        cut = max(rank_score for _, rank_score, complete in brute_force(table, 4, 1.0) if not complete)
        assert [one.cut_better for one in found] == [one.complete and one.rank_score < cut for one in found]
        (best,) = search(Table([0], beam, seed=seed), SearchConfig(beam), [4])[0]
        marked, all_of = marked + best.cut_better, all_of + 1
    assert 0 < marked < all_of
