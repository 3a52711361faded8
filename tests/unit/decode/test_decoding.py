"""The cached step equals computing all anew; sentences come and go; which models may use a cache."""

from typing import Any

import pytest
import torch

from clearhead.decode.decoding import CachedDecoding, RecomputedDecoding, rows_of, start_decoding
from clearhead.decode.rules import forbid
from clearhead.decode.search import Hypothesis, SearchConfig, beam_search
from clearhead.nn.layer import BlockConfig
from tests.small import assert_near, padded, random_rows, small

POSITIONS = ["sinusoidal", "learned", "rotary", "alibi", "none"]
LENGTHS = [5, 1, 8, 3]
BOS, EOS = 1, 2


def decode(kind: Any, model: Any, beam: int, rows: list[list[int]]) -> list[list[Hypothesis]]:
    with torch.inference_mode():
        decoding = kind(model, *padded(rows), beam=beam)
    limits = [len(row) + 6 for row in rows]
    config = SearchConfig(beam, min(beam, 2))
    return beam_search(decoding, config, limits=limits, bos_id=BOS, eos_id=EOS, rules=[forbid([0, 1, 3])])


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


@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("kind", [CachedDecoding, RecomputedDecoding])
def test_mixed_lengths_give_what_each_gives_alone(kind: Any, beam: int) -> None:
    model, rows = small(position="learned", n_kv_heads=2), random_rows(LENGTHS, seed=4)
    together = decode(kind, model, beam, rows)
    for row, ranked in zip(rows, together, strict=True):
        (alone,) = decode(kind, model, beam, [row])
        assert [one.ids for one in ranked] == [one.ids for one in alone]
        assert ranked[0].score == pytest.approx(alone[0].score, abs=1e-5)


@pytest.mark.parametrize("kind", [CachedDecoding, RecomputedDecoding])
@torch.inference_mode()
def test_rows_follow_reorder_and_sentences_follow_keep(kind: Any) -> None:
    """Two rows a sentence: swap them, drop a sentence, and every logit is that of the history it should have."""
    model, rows = small(), random_rows([4, 2, 6])
    capacity = {"capacity": 1} if kind is CachedDecoding else {}
    decoding = kind(model, *padded(rows), beam=2, **capacity)
    decoding.advance(torch.full((6,), BOS))
    decoding.advance(torch.tensor([4, 5, 6, 7, 8, 9]))
    decoding.reorder(torch.tensor([1, 0, 3, 3, 4, 5]))
    decoding.keep(torch.tensor([0, 1]))
    found = decoding.advance(torch.tensor([10, 11, 10, 11]))
    histories = [[BOS, 5, 10], [BOS, 4, 11], [BOS, 7, 10], [BOS, 7, 11]]
    for logits, history, row in zip(found, histories, [0, 0, 1, 1], strict=True):
        assert_near(logits, model(torch.tensor([rows[row]]), torch.tensor([history]))[0, -1])
    assert rows_of(torch.tensor([0, 2]), 2).tolist() == [0, 1, 4, 5]


def test_the_cache_is_used_where_no_norm_sees_other_positions() -> None:
    ids, mask = padded(random_rows([3, 2]))
    for norm, expected in [("layer", CachedDecoding), ("rms", CachedDecoding), ("instance", RecomputedDecoding)]:
        model = small(block=BlockConfig(norm=norm))
        with torch.inference_mode():
            assert type(start_decoding(model, ids, mask)) is expected, norm


@torch.inference_mode()
def test_keys_of_the_source_are_kept_once_a_sentence() -> None:
    decoding = CachedDecoding(small(n_kv_heads=2), *padded(random_rows([5, 3])), beam=7)
    assert [tuple(part.shape) for pair in decoding.cache.cross for part in pair] == [(2, 2, 5, 4)] * 4
    assert decoding.cache.buffer.shape[2] == 14
