"""Whole characters in searches: tables of random logits over bytes, at the limit, beside other rules, where stuck."""

import random

import pytest
import torch

from clearhead.decode.decoding import Decoding
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rules import Rule, forbid
from clearhead.decode.search import beam_search
from clearhead.decode.whole import TAIL, Whole, whole_characters
from clearhead.text.characters import Characters, characters_of
from tests.table import BOS, EOS, Table

PIECES = [b"", b"", b"\xe8", b"\x8b", b"\xb9", b"\x8b\xb9", b"a", b"\xf0\x9f", b"\xe8\x8b", b"\xb9\xe8"]


def characters() -> Characters:
    given = characters_of(PIECES)
    assert given is not None
    return given


def text(found: Hypothesis) -> bytes:
    return b"".join(PIECES[piece] for piece in found.ids)


def searched(seed: int, config: SearchConfig, limits: list[int], *, rules: list[Rule]) -> list[list[Hypothesis]]:
    table: Decoding = Table(range(len(limits)), config.beam, vocab=len(PIECES), seed=seed)
    return beam_search(table, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=[forbid([BOS]), *rules])


@pytest.mark.parametrize("config", [SearchConfig(1), SearchConfig(4, 4)], ids=str)
def test_all_that_is_found_is_whole(config: SearchConfig) -> None:
    limits, broken, cut = [1, 2, 3, 5, 8], 0, 0
    for seed in range(6):
        for ranked in searched(seed, config, limits, rules=whole_characters(characters(), limits)):
            assert ranked
            for found in ranked:
                text(found).decode()  # raises where a character is not whole
            cut += sum(not found.complete for found in ranked)
        for ranked in searched(seed, config, limits, rules=[]):
            broken += sum("\ufffd" in text(found).decode("utf-8", "replace") for found in ranked)
    assert cut > 5, "the limit has cut"
    assert broken > 5, "without the rule there are halves"


def test_the_tail_says_the_state_that_all_pieces_say() -> None:
    draw, table = random.Random(0), characters()
    whole = Whole(table)
    for _ in range(60):
        state, ids = 0, list[int]()
        for _ in range(draw.randint(0, 9)):
            ids.append(draw.choice([piece for piece in range(len(PIECES)) if table.allowed[-1, state, piece]]))
            state = int(table.after[state, ids[-1]])
        scores = torch.zeros(1, len(PIECES))
        whole.mask_(scores, torch.tensor([ids[-TAIL:]], dtype=torch.long), torch.tensor([9]))
        assert scores[0].isfinite().tolist() == table.allowed[-1, state].tolist(), ids


def test_rows_are_masked_each_by_its_own_state_and_room() -> None:
    table, scores = characters(), torch.arange(40.0).view(4, 10)
    tail = torch.tensor([[-1, -1, 6], [-1, 6, 2], [-1, 2, 3], [6, 6, 6]])
    Whole(table).mask_(scores, tail, torch.tensor([9, 9, 9, 0]))
    assert [[PIECES[piece] for piece in row.isfinite().nonzero()[:, 0]] for row in scores] == [
        [b"", b"", b"\xe8", b"a", b"\xf0\x9f", b"\xe8\x8b"],
        [b"\x8b", b"\xb9", b"\x8b\xb9"],
        [b"\x8b", b"\xb9", b"\xb9\xe8"],
        [b"", b"", b"a"],
    ]
    kept = scores.isfinite()
    assert torch.equal(scores[kept], torch.arange(40.0).view(4, 10)[kept]), "what may come keeps its score"


def test_where_other_rules_leave_no_way_on_what_they_leave_stays() -> None:
    scores = torch.full((1, 10), float("-inf"))
    scores[0, 6] = 1.0  # an a, in the middle of a character
    Whole(characters()).mask_(scores, torch.tensor([[2]]), torch.tensor([9]))
    assert scores[0].isfinite().nonzero()[:, 0].tolist() == [6]


def test_a_vocabulary_of_whole_characters_has_no_rule() -> None:
    assert whole_characters(None, [5]) == []


def test_no_sentence_depends_on_another() -> None:
    limits = [6, 3, 9]
    together = searched(3, SearchConfig(3, 3), limits, rules=whole_characters(characters(), limits))
    (alone,) = searched(3, SearchConfig(3, 3), limits[:1], rules=whole_characters(characters(), limits[:1]))
    assert [found.ids for found in together[0]] == [found.ids for found in alone]
