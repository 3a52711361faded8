"""Constrained search against brute force; every hypothesis keeps its word; batch mates and free sentences unmoved."""

from collections.abc import Sequence

import pytest
import torch

from clearhead.decode.constraints import Constraints, avoid, take_turns
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rules import force_prefix
from clearhead.decode.search import beam_search
from clearhead.text.phrase import Automaton, Spellings
from tests.table import BOS, EOS, Ids, Table, brute_force

PIECES = ["", "", "+", "-", "+-"]  # what each spells: the last is two of the others in one
SPELLINGS = Spellings([piece.encode() for piece in PIECES])
Phrases = Sequence[Sequence[str]]
OFF = float("-inf")


def find(*phrases: str) -> Automaton:
    return SPELLINGS.automaton([phrase.encode() for phrase in phrases])


def text(ids: Sequence[int]) -> str:
    return "".join(PIECES[piece] for piece in ids)


def table(sentences: Sequence[int], beam: int, *, seed: int = 0, scale: float = 2.0) -> Table:
    return Table(sentences, beam, vocab=len(PIECES), seed=seed, scale=scale)


def search(
    given: Table,
    config: SearchConfig,
    limits: Sequence[int],
    *,
    require: Phrases = (),
    avoided: Phrases = (),
    prefixes: Sequence[Sequence[int]] = (),
) -> list[list[Hypothesis]]:
    rules = [avoid([[find(*own)] if own else [] for own in avoided])] if avoided else []
    rules += [force_prefix(prefixes)] if prefixes else []
    constraints = Constraints([[find(one) for one in own] for own in require], eos_id=EOS) if require else None
    return beam_search(given, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=rules, constraints=constraints)


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("required", "avoided"),
    [(["++-"], []), (["-+", "--"], []), ([], ["+-", "--"]), (["++"], ["+++"]), (["+-", "-+"], ["+-+"])],
)
def test_full_width_equals_brute_force(required: list[str], avoided: list[str], seed: int) -> None:
    """What ends and keeps to the phrases, best first; what misses one is there too, but never as complete."""
    limit, beam = 4, 4**3 * 5
    (found,) = search(
        table([0], beam, seed=seed), SearchConfig(beam, beam), [limit], require=[required], avoided=[avoided]
    )
    ways = [
        one for one in brute_force(table([0], 1, seed=seed), limit, 1.0) if not any(p in text(one[0]) for p in avoided)
    ]
    expected = [one for one in ways if one[2] and all(phrase in text(one[0]) for phrase in required)]
    complete = [one for one in found if one.complete]
    assert [tuple(one.ids) for one in complete] == [ids for ids, *_ in expected]
    assert [one.rank_score for one in complete] == pytest.approx([one[1] for one in expected], abs=1e-5)
    assert {tuple(one.ids) for one in found[len(complete) :]} <= {ids for ids, _, ended in ways if not ended}
    assert 0 < len(complete) < len(ways)


@pytest.mark.long
@pytest.mark.parametrize("beam", [2, 3, 5, 8])
def test_every_hypothesis_meets_its_phrases_at_any_width(beam: int) -> None:
    required, avoided = [["++-", "---"], ["-+-+-"], ["+-"]], [["+++"], [], ["--"]]
    for seed in range(8):
        config = SearchConfig(beam, 1 + seed % 2)
        found = search(table(range(3), beam, seed=seed), config, [12, 10, 9], require=required, avoided=avoided)
        for ranked, own, never in zip(found, required, avoided, strict=True):
            assert all(phrase in text(ranked[0].ids) for phrase in own)
            for one in ranked:
                assert all(phrase in text(one.ids) for phrase in own) or not one.complete
                assert not any(phrase in text(one.ids) for phrase in never)
            assert len({tuple(one.ids) for one in ranked}) == len(ranked)


def test_scores_stay_those_of_the_model() -> None:
    given = table([0], 4)
    (found,) = search(given, SearchConfig(4, 3), [8], require=[["--"]], avoided=[["++"]])
    for one in found:
        path: Ids = (BOS, *one.ids, *[EOS] * one.complete)
        expected = [given.log_probs(0, path[: at + 1])[path[at + 1]] for at in range(len(path) - 1)]
        assert one.log_probs == pytest.approx(expected, abs=1e-5)


def test_a_mixed_batch_gives_what_each_sentence_gives_alone() -> None:
    config, limits = SearchConfig(3, 2), [9, 7, 9, 5, 8]
    required: Phrases = [["++-"], [], ["-+", "+-", "--"], [], ["+"]]
    avoided: Phrases = [[], ["-"], [], [], ["--", "+++"]]
    found = search(table(range(5), 3, seed=4), config, limits, require=required, avoided=avoided)
    for row, limit in enumerate(limits):
        alone = table([row], 3, seed=4)
        assert search(alone, config, [limit], require=[required[row]], avoided=[avoided[row]]) == [found[row]]
    free = search(table([3], 3, seed=4), config, [5])
    assert free == [found[3]], "nothing asked, nothing changed"


def test_constraints_without_phrases_change_nothing() -> None:
    for seed in range(8):
        config, limits = SearchConfig(4, 3), [6, 8]
        plain = search(table(range(2), 4, seed=seed), config, limits)
        assert search(table(range(2), 4, seed=seed), config, limits, require=[[], []], avoided=[[], []]) == plain
    assert search(table([], 4), config, [], require=[]) == []


class Wanted(Table):
    """Wants the pieces of ``way`` and then the end; the others it likes a little less the higher they are."""

    way: Ids = ()

    def logits(self, sentence: int, history: Ids) -> list[float]:
        wanted = self.way[len(history) - 1] if len(history) <= len(self.way) else EOS
        return [8.0 if piece == wanted else -piece / 10 for piece in range(self.vocab)]


def test_a_phrase_waits_for_its_place() -> None:
    """Hypotheses that have not begun a phrase keep a part of the beam, however many others have."""
    for beam in (3, 4, 5):
        given = Wanted([0], beam, vocab=len(PIECES))
        given.way = (2, 2, 2, 3, 2)
        (found,) = search(given, SearchConfig(beam), [9], require=[["-"]])
        assert found[0].ids == [2, 2, 2, 3, 2]
    given = Wanted([0], 8, vocab=len(PIECES))
    given.way = (2, 2, 3)
    (found,) = search(given, SearchConfig(8, 8), [9], require=[["--"]])
    assert text(found[0].ids) in ("++--", "--++-", "+--+-")


def test_a_phrase_that_breaks_off_is_begun_again_where_its_pieces_say() -> None:
    """In +++- the third + breaks off ++ and is at once the second + of a new one."""
    given = Wanted([0], 4, vocab=len(PIECES))
    given.way = (2, 2, 2, 3)
    (found,) = search(given, SearchConfig(4), [9], require=[["++-"]])
    assert found[0].ids == [2, 2, 2, 3]
    given = Wanted([0], 4, vocab=len(PIECES))
    given.way = (2, 2)  # and then the end, which has to wait
    (found,) = search(given, SearchConfig(4), [9], require=[["++-+"]])
    assert text(found[0].ids) == "++-+"
    assert found[0].complete


def test_an_avoided_phrase_is_not_spelled_by_other_pieces() -> None:
    for way in ((2, 3), (4,), (2, 4)):
        given = Wanted([0], 3, vocab=len(PIECES))
        given.way = way
        (found,) = search(given, SearchConfig(3, 3), [4], avoided=[["+-"]])
        assert not any("+-" in text(one.ids) for one in found)


def test_no_piece_leaves_an_avoided_word_at_the_end() -> None:
    """Not even where letters could follow; longer words come in pieces that lead past it, or do not begin with it."""
    letters = Spellings([b"", b"", b"a", b"b", b" ", b"ab", b"ba "])
    never = avoid([[letters.automaton([b"a"])]])
    scores = torch.zeros(1, 5, 7)
    ids = torch.tensor([[[4, 4], [4, 3], [3, 5], [5, 4], [3, 6]]])
    never(scores, ids, torch.tensor([0]))
    assert scores[0, :, 2].tolist() == [OFF, 0, 0, OFF, OFF], "a after a space, ab's space, ba's space; not after b"
    assert scores[0, :, [0, 1, 3, 4, 5, 6]].eq(0).all()
    (found,) = beam_search(
        Table([0], 8, vocab=7), SearchConfig(8, 8), limits=[3], bos_id=BOS, eos_id=EOS, rules=[never]
    )  # fmt: skip
    spelled = [b"".join(letters.pieces[piece] for piece in one.ids) for one in found]
    assert len(set(spelled)) > 4
    assert not any(b"a" in words.split() for words in spelled)


def test_what_cannot_be_met_within_the_limit_is_not_complete_and_the_nearest_comes_first() -> None:
    (found,) = search(table([0], 4), SearchConfig(4, 4), [3], require=[["--", "++"]])
    assert [one.complete for one in found] == [False] * 4
    assert ("--" in text(found[0].ids)) or ("++" in text(found[0].ids))
    (found,) = search(table([0], 4), SearchConfig(4), [6], require=[["+-"]], avoided=[["-"]])
    assert not found[0].complete, "required and avoided at once"


def test_a_prefix_counts() -> None:
    (found,) = search(table([0], 4), SearchConfig(4, 2), [6], require=[["+-+"]], prefixes=[[3, 2]])
    assert all(one.ids[:2] == [3, 2] and "+-+" in text(one.ids) for one in found if one.complete)
    assert found[0].complete
    (met,) = search(table([0], 4), SearchConfig(4, 2), [6], require=[["-+"]], prefixes=[[3, 2]])
    (free,) = search(table([0], 4), SearchConfig(4, 2), [6], prefixes=[[3, 2]])
    assert met == free


def test_candidates_are_the_best_pieces_and_the_best_that_bring_a_phrase_nearer() -> None:
    constraints = Constraints([[find("--"), find("+")], []], eos_id=EOS)
    logits = torch.tensor([9.0, 8.0, 2.0, 1.0, 3.0])  # piece 0 is best, then the end, +-, + and -
    scores = logits.repeat(2, 2, 1)  # sentences beam vocab
    ids = torch.tensor([[[3], [4]], [[3], [4]]])
    top, pieces, missing = constraints.candidates(scores, ids, torch.tensor([0, 1]), 1)
    # after -: - and the more probable +-, which meets + and begins -- again; after +-: no more +, and the end waits
    assert pieces[0].tolist() == [[0, 3, 4], [0, 3, EOS]]
    assert top[0].tolist() == [[9, 1, 3], [9, 1, OFF]]
    assert missing[0].tolist() == [[2, 1, 1], [1, 0, 1]]
    assert top[1].tolist() == [[9, 8, OFF]] * 2
    assert missing[1].eq(0).all()


def test_banks_take_turns() -> None:
    scores = torch.tensor([[-1.0, -2.0, -3.0, -4.0, -5.0, OFF, -6.0, -7.0]])
    missing = torch.tensor([[2, 2, 1, 0, 1, 0, 0, 0]])
    ends = torch.tensor([[False, False, False, False, False, False, True, True]])
    rating = take_turns(scores, missing, ends, 2)
    assert rating.argsort(descending=True, stable=True).tolist() == [[6, 3, 2, 0, 4, 1, 7, 5]]
    assert rating[0, 5] == OFF


def test_greedy_search_takes_no_constraints() -> None:
    with pytest.raises(ValueError, match="beam = 1: must be at least 2 with constraints"):
        search(table([0], 1), SearchConfig(1), [5], require=[["+"]])
