"""A step from a cache or a state equals computing all anew; sentences come and go; which model takes which step."""

import functools
from typing import Any, get_args

import numpy as np
import pytest
import torch

from clearhead.decode.decoding import (
    CachedDecoding,
    Decoding,
    RecomputedDecoding,
    RNNDecoding,
    Shortlisted,
    rows_of,
    start_decoding,
)
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rules import forbid
from clearhead.decode.search import beam_search
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import PositionName
from tests.small import VOCAB, assert_near, padded, random_rows, shake, small
from tests.table import Ids, Table, brute_force

RNNS = ["lstm none", "gru none", "lstm additive", "gru additive"]
POSITIONS = get_args(PositionName)
LENGTHS = [5, 1, 8, 3]
BOS, EOS = 1, 2


def small_rnn(name: str, vocab_size: int = VOCAB) -> RNNTranslator:
    torch.manual_seed(1)
    cell, attention = name.split()
    config = RNNConfig(d_model=8, n_layers=2, cell=cell, attention=attention, dropout=0.0)
    model = RNNTranslator(config, src_vocab_size=vocab_size, vocab_size=vocab_size)
    shake(model)
    for parameter in model.parameters():
        parameter.data *= 3  # at its start attention is flat, and one history like another
    return model.eval()


def step_of(name: str) -> tuple[Any, Any]:
    """A step and a model that it is of."""
    kinds = {"cached": functools.partial(CachedDecoding, capacity=1), "recomputed": RecomputedDecoding}
    if name in kinds:
        return kinds[name], small(position="learned", n_kv_heads=2)
    return RNNDecoding, small_rnn(name)


def decode(kind: Any, model: Any, beam: int, rows: list[list[int]]) -> list[list[Hypothesis]]:
    with torch.inference_mode():
        decoding = kind(model, *padded(rows), beam=beam)
    limits = [len(row) + 6 for row in rows]
    config = SearchConfig(beam, min(beam, 2))
    return beam_search(decoding, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=[forbid([0, 1, 3])])


@pytest.mark.long_but(every=6)
@pytest.mark.parametrize("beam", [1, 4])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("position", POSITIONS)
def test_cached_equals_recomputed_piece_for_piece(position: str, kv_heads: int, beam: int) -> None:
    model = small(position=position, n_kv_heads=kv_heads, seed=kv_heads)
    rows = random_rows(LENGTHS)
    cached, plain = (decode(kind, model, beam, rows) for kind in (CachedDecoding, RecomputedDecoding))
    assert [[one.ids for one in ranked] for ranked in cached] == [[one.ids for one in ranked] for ranked in plain]
    for ours, theirs in zip(cached, plain, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("name", ["cached", "recomputed", *RNNS])
def test_mixed_lengths_give_what_each_gives_alone(name: str, beam: int) -> None:
    (kind, model), rows = step_of(name), random_rows(LENGTHS, seed=4)
    together = decode(kind, model, beam, rows)
    for row, ranked in zip(rows, together, strict=True):
        (alone,) = decode(kind, model, beam, [row])
        assert [one.ids for one in ranked] == [one.ids for one in alone]
        assert ranked[0].score == pytest.approx(alone[0].score, abs=1e-5)


@pytest.mark.parametrize("name", ["cached", "recomputed", *RNNS])
@torch.inference_mode()
def test_rows_follow_reorder_and_sentences_follow_keep(name: str) -> None:
    """Two rows a sentence: swap them, drop a sentence, and every logit is that of the history it should have."""
    (kind, model), rows = step_of(name), random_rows([4, 2, 6])
    decoding = kind(model, *padded(rows), beam=2)
    decoding.advance(torch.full((6,), BOS))
    decoding.advance(torch.tensor([4, 5, 6, 7, 8, 9]))
    decoding.reorder(torch.tensor([1, 0, 3, 3, 4, 5]))
    decoding.keep(torch.tensor([1, 2]))
    found = decoding.advance(torch.tensor([10, 11, 10, 11]))
    histories = [[BOS, 7, 10], [BOS, 7, 11], [BOS, 8, 10], [BOS, 9, 11]]
    for logits, history, row in zip(found, histories, [1, 1, 2, 2], strict=True):
        assert_near(logits, model(torch.tensor([rows[row]]), torch.tensor([history]))[0, -1])
    assert rows_of(torch.tensor([0, 2]), 2).tolist() == [0, 1, 4, 5]


def test_the_cache_is_used_where_no_norm_sees_other_positions() -> None:
    ids, mask = padded(random_rows([3, 2]))
    for norm, expected in [("layer", CachedDecoding), ("rms", CachedDecoding), ("instance", RecomputedDecoding)]:
        model = small(block=BlockConfig(norm=norm))
        with torch.inference_mode():
            assert type(start_decoding(model, ids, mask)) is expected, norm
    with torch.inference_mode():
        assert type(start_decoding(small_rnn("gru additive"), ids, mask)) is RNNDecoding


@pytest.mark.parametrize("name", RNNS)
def test_a_recurrent_search_of_full_width_equals_brute_force(name: str) -> None:
    vocab, limit, bos, eos = 5, 3, 0, 1
    model, source = small_rnn(name, vocab), torch.tensor([[3, 4, 3, 1]])
    with torch.inference_mode():
        decoding = start_decoding(model, source, None, beam=80)
    (found,) = beam_search(decoding, SearchConfig(80, 30), limits=[limit], bos_id=bos, eos_id=eos)

    class Model(Table):
        @functools.cache  # noqa: B019
        def log_probs(self, sentence: int, history: Ids) -> list[float]:
            with torch.inference_mode():
                return model(source, torch.tensor([history]))[0, -1].log_softmax(-1).tolist()

    expected = brute_force(Model([0], 1, vocab=vocab), limit, 1.0)[:30]
    assert [(tuple(one.ids), one.complete) for one in found] == [(ids, complete) for ids, _, complete in expected]
    assert [one.rank_score for one in found] == pytest.approx([score for _, score, _ in expected], abs=1e-5)


@torch.inference_mode()
def test_keys_of_the_source_are_kept_once_a_sentence() -> None:
    decoding = CachedDecoding(small(n_kv_heads=2), *padded(random_rows([5, 3])), beam=7)
    assert [tuple(part.shape) for pair in decoding.cache.cross for part in pair] == [(2, 2, 5, 4)] * 4
    assert decoding.cache.buffer.shape[2] == 14


class Fixed:
    """The same logits at every step, two rows a sentence; records what it was asked."""

    def __init__(self) -> None:
        self.logits, self.asked = torch.arange(6 * 13).view(6, 13) / 10, list[Any]()

    def advance(self, ids: Ids) -> Ids:
        return self.logits

    def reorder(self, rows: Ids) -> None:
        self.asked.append(("reorder", rows.tolist()))

    def keep(self, sentences: Ids) -> None:
        self.asked.append(("keep", sentences.tolist()))
        self.logits = self.logits[rows_of(sentences, 2)]


LISTS = [np.array(pieces, np.int32) for pieces in ([2, 4, 6], [2, 5, 12], [0, 1, 2, 3])]


def test_within_a_shortlist_logits_are_as_they_were() -> None:
    plain, before = Fixed(), torch.arange(6 * 13).view(6, 13) / 10
    decoding = Shortlisted(plain, LISTS, vocab=13, beam=2)
    assert isinstance(decoding, Decoding)
    for sentences, stay in (([0, 1, 2], [2, 0]), ([2, 0], [1]), ([0], [0])):
        logits = decoding.advance(torch.zeros(2 * len(sentences), dtype=torch.long))
        for row, found in enumerate(logits):
            own = LISTS[sentences[row // 2]].tolist()
            assert found.isfinite().nonzero()[:, 0].tolist() == own
            assert torch.equal(found[own], before[2 * sentences[row // 2] + row % 2][own])
        decoding.keep(torch.tensor(stay))
    assert torch.equal(plain.logits, before[:2]), "what a model gives is not written to"
    decoding.reorder(torch.tensor([1, 0]))
    assert plain.asked == [("keep", [2, 0]), ("keep", [1]), ("keep", [0]), ("reorder", [1, 0])]


def test_probabilities_are_over_the_shortlist() -> None:
    model, sources = small(vocab_size=VOCAB), random_rows([4, 2, 5], seed=1)

    def searched(rows: list[int]) -> list[Hypothesis]:
        with torch.inference_mode():
            decoding = CachedDecoding(model, *padded([sources[row] for row in rows]), beam=3)
        short = Shortlisted(decoding, [LISTS[row] for row in rows], vocab=VOCAB, beam=3)
        found = beam_search(short, SearchConfig(beam=3), limits=[6] * len(rows), bos_id=BOS, eos_id=EOS)
        return [ranked[0] for ranked in found]

    for row, best in enumerate(searched([0, 1, 2])):
        pieces, own = [*best.ids, EOS][: len(best.log_probs)], LISTS[row].tolist()
        with torch.inference_mode():
            logits = model(torch.tensor([sources[row]]), torch.tensor([[BOS, *best.ids]]))[0][:, own]
        log_probs = logits.log_softmax(-1)
        assert_near(torch.tensor(best.log_probs), log_probs[range(len(pieces)), [own.index(piece) for piece in pieces]])
        assert searched([row])[0].ids == best.ids
