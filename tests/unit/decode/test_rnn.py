"""The recurrent step: equals reading all at once; a search over it finds what brute force finds."""

import functools

import pytest
import torch
from torch import Tensor

from clearhead.decode.decoding import Decoding
from clearhead.decode.rnn import RNNDecoding
from clearhead.decode.search import SearchConfig, beam_search
from clearhead.models.rnn import RNNConfig, RNNTranslator
from tests.small import assert_near, padded, random_rows, shake
from tests.table import BOS, EOS, Ids, Table, brute_force

KINDS = [("lstm", "none"), ("gru", "none"), ("lstm", "additive"), ("gru", "additive")]
kinds = pytest.mark.parametrize(("cell", "attention"), KINDS)


def small(cell: str, attention: str, vocab_size: int = 13) -> RNNTranslator:
    torch.manual_seed(1)
    config = RNNConfig(d_model=8, n_layers=2, cell=cell, attention=attention, dropout=0.0)
    model = RNNTranslator(config, src_vocab_size=vocab_size, vocab_size=vocab_size)
    shake(model)
    for parameter in model.parameters():
        parameter.data *= 3  # at its start attention is flat, and one history like another
    return model.eval()


def start(model: RNNTranslator, src_ids: Tensor, src_mask: Tensor | None, beam: int) -> Decoding:
    with torch.inference_mode():
        return RNNDecoding(model, src_ids, src_mask, beam=beam)


@kinds
@torch.inference_mode()
def test_rows_follow_reorder_and_sentences_follow_keep(cell: str, attention: str) -> None:
    """Two rows a sentence: swap them, drop a sentence, and every logit is that of the history it should have."""
    model, rows = small(cell, attention), random_rows([4, 2, 6])
    decoding = start(model, *padded(rows), beam=2)
    decoding.advance(torch.full((6,), BOS))
    decoding.advance(torch.tensor([4, 5, 6, 7, 8, 9]))
    decoding.reorder(torch.tensor([1, 0, 3, 3, 4, 5]))
    decoding.keep(torch.tensor([0, 2]))
    found = decoding.advance(torch.tensor([10, 11, 10, 11]))
    histories = [[BOS, 5, 10], [BOS, 4, 11], [BOS, 8, 10], [BOS, 9, 11]]
    for logits, history, row in zip(found, histories, [0, 0, 2, 2], strict=True):
        assert_near(logits, model(torch.tensor([rows[row]]), torch.tensor([history]))[0, -1])


@kinds
def test_a_search_of_full_width_equals_brute_force(cell: str, attention: str) -> None:
    vocab, limit = 5, 3
    model, source = small(cell, attention, vocab), torch.tensor([[3, 4, 3, 1]])
    decoding = start(model, source, None, beam=80)
    (found,) = beam_search(decoding, SearchConfig(80, 30), limits=[limit], bos_id=BOS, eos_id=EOS)

    class Model(Table):
        @functools.cache  # noqa: B019
        def log_probs(self, sentence: int, history: Ids) -> list[float]:
            with torch.inference_mode():
                return model(source, torch.tensor([history]))[0, -1].log_softmax(-1).tolist()

    expected = brute_force(Model([0], 1, vocab=vocab), limit, 1.0)[:30]
    assert [(tuple(one.ids), one.complete) for one in found] == [(ids, complete) for ids, _, complete in expected]
    assert [one.rank_score for one in found] == pytest.approx([score for _, score, _ in expected], abs=1e-5)


@pytest.mark.parametrize("beam", [1, 3])
@kinds
def test_mixed_lengths_give_what_each_gives_alone(cell: str, attention: str, beam: int) -> None:
    model, rows = small(cell, attention), random_rows([5, 1, 8, 3], seed=4)
    limits = [len(row) + 6 for row in rows]
    config = SearchConfig(beam)
    together = beam_search(start(model, *padded(rows), beam), config, limits=limits, bos_id=BOS, eos_id=EOS)
    for row, limit, (found,) in zip(rows, limits, together, strict=True):
        decoding = start(model, torch.tensor([row]), None, beam)
        ((alone,),) = beam_search(decoding, config, limits=[limit], bos_id=BOS, eos_id=EOS)
        assert found.ids == alone.ids
        assert found.log_probs == pytest.approx(alone.log_probs, abs=1e-5)
