"""Recurrent models: parity with plain formulas, padded = alone, isolated documents, continued states, attention."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.meter.watch import watching
from clearhead.models.rnn import RNNConfig, RNNLanguageModel, RNNState, RNNTranslator
from tests.small import VOCAB, assert_near, padded, random_rows, shake

CELLS, ATTENTIONS = ["lstm", "gru"], ["none", "additive"]
SIZES: dict[str, Any] = {"d_model": 8, "n_layers": 2, "dropout": 0.0, "max_seq_len": 16}
translators = pytest.mark.parametrize(("cell", "attention"), [(c, a) for c in CELLS for a in ATTENTIONS])


def language_model(seed: int = 0, **sizes: Any) -> RNNLanguageModel:
    torch.manual_seed(seed)
    return RNNLanguageModel(RNNConfig(**{**SIZES, **sizes}), vocab_size=VOCAB).eval()


def translator(seed: int = 0, **sizes: Any) -> RNNTranslator:
    torch.manual_seed(seed)
    model = RNNTranslator(RNNConfig(**{**SIZES, **sizes}), src_vocab_size=VOCAB, vocab_size=VOCAB)
    shake(model)
    for parameter in model.parameters():
        parameter.data *= 3  # at initialization attention is nearly uniform, so that a wrong query would hardly matter
    return model.eval()


def alone(model: RNNLanguageModel, row: list[int]) -> tuple[Tensor, Tensor]:
    """Returns the logits [seq, vocab] of one sequence and the states after it [parts, layers, d_model]."""
    cache = model.new_cache(1)
    return model(torch.tensor([row]), cache=cache)[0], cache.states[:, :, 0]


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize(("cell", "kind"), [("lstm", nn.LSTM), ("gru", nn.GRU)])
@torch.no_grad()
def test_a_language_model_is_torchs_rnn_between_two_tables(cell: str, kind: Any, tie: bool) -> None:
    model, ids = language_model(cell=cell, tie=tie), torch.tensor(random_rows([7, 7, 7]))
    plain = kind(8, 8, num_layers=2, batch_first=True)
    plain.load_state_dict(model.rnn.cells.state_dict())
    table = model.embedding.tokens.weight
    states, _ = plain(table[ids] * 8**0.5)
    assert_near(model(ids), states @ model.lm_head.weight.T)
    assert (model.lm_head.weight is table) is tie


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_padding_anywhere_is_not_read(cell: str) -> None:
    model, rows = language_model(cell=cell), random_rows([3, 6, 1, 4])
    for side in ("left", "right"):
        ids, mask = padded(rows, side, 2)
        cache = model.new_cache(4)
        logits = model(ids, mask=mask, cache=cache)
        for number, row in enumerate(rows):
            expected, states = alone(model, row)
            assert_near(logits[number, mask[number]], expected)
            assert_near(cache.states[:, :, number], states)
    ids, mask = torch.tensor([[4, 9, 5, 9, 6]]), torch.tensor([[True, False, True, False, True]])
    assert_near(model(ids, mask=mask)[0, ::2], alone(model, [4, 5, 6])[0])


@torch.no_grad()
def test_prompts_of_mixed_lengths_go_on_as_each_alone() -> None:
    model, rows = language_model(), random_rows([2, 5, 3])
    (ids, mask), cache = padded(rows, "left"), model.new_cache(3)
    model(ids, mask=mask, cache=cache)
    new, waiting = torch.tensor([[7], [8], [9]]), torch.tensor([[True], [False], [True]])
    logits = model(new, mask=torch.cat([mask, waiting], dim=1), cache=cache)
    assert_near(logits[0, -1], alone(model, [*rows[0], 7])[0][-1])
    assert_near(cache.states[:, :, 1], alone(model, rows[1])[1])  # a row that reads nothing keeps its state
    again = model(new, mask=torch.cat([mask, waiting, waiting | True], dim=1), cache=cache)
    for row, history in enumerate(([*rows[0], 7, 7], [*rows[1], 8], [*rows[2], 9, 9])):
        assert_near(again[row, -1], alone(model, history)[0][-1])


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_isolated_documents_equal_each_alone(cell: str) -> None:
    model, ids = language_model(cell=cell), torch.tensor(random_rows([6, 6]))
    documents = torch.tensor([[0, 0, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0]])
    cache, (first, second) = model.new_cache(2), ids.tolist()
    model(ids[:, :1], cache=cache)  # the first document of each row continues from it
    logits = model(ids, documents=documents, positions=torch.zeros_like(documents), cache=cache)
    assert_near(logits[0, :2], alone(model, [first[0], *first[:2]])[0][1:])
    assert_near(logits[0, 2:3], alone(model, first[2:3])[0])
    assert_near(logits[0, 3:], alone(model, first[3:])[0])
    assert_near(logits[1], alone(model, [second[0], *second])[0][1:])
    assert_near(cache.states[:, :, 0], alone(model, first[3:])[1])
    left = torch.tensor([[False, True, True, True, True, True], [True] * 6])
    assert_near(model(ids, mask=left, documents=documents)[0, 1:2], alone(model, first[1:2])[0])


@pytest.mark.parametrize("steps", [[1] * 7, [3, 1, 3]])
@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_going_on_from_the_state_equals_reading_all(cell: str, steps: list[int]) -> None:
    model, ids = language_model(cell=cell), torch.tensor(random_rows([7, 7]))
    cache = model.new_cache(2)
    parts = [model(new, cache=cache) for new in ids.split(steps, dim=1)]
    assert_near(torch.cat(parts, dim=1), model(ids))


def test_a_state_has_one_size_and_rows_follow_reorder_and_keep() -> None:
    numbers = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
    state = RNNState(numbers, (torch.tensor([[1.0], [2.0]]), torch.tensor([[True], [False]])))
    assert (state.bytes_read(), state.bytes_written()) == (480 + 8 + 2, 480)
    state.reorder(torch.tensor([1, 1, 3, 2]))
    state.keep(torch.tensor([1]), torch.tensor([2, 3]))
    assert torch.equal(state.states, numbers[:, :, [3, 2]])
    assert [part.tolist() for part in state.source] == [[[2.0]], [[False]]]


@translators
@torch.no_grad()
def test_padded_pairs_equal_each_alone(cell: str, attention: str) -> None:
    model = translator(cell=cell, attention=attention)
    sources, targets = random_rows([1, 6, 3], 1), random_rows([2, 5, 1], 2)
    tgt_ids, tgt_mask = padded(targets)
    for side in ("right", "left"):
        src_ids, src_mask = padded(sources, side, 2)
        together = model.hidden(src_ids, tgt_ids, src_mask=src_mask, tgt_mask=tgt_mask)
        for number, (src, tgt) in enumerate(zip(sources, targets, strict=True)):
            expected = model.hidden(torch.tensor([src]), torch.tensor([tgt]))[0]
            assert_near(together[number, tgt_mask[number]], expected)
    assert not model.needs_tgt_mask


@translators
@torch.no_grad()
def test_a_future_piece_changes_nothing_before_it(cell: str, attention: str) -> None:
    model = translator(cell=cell, attention=attention)
    src, tgt = torch.tensor(random_rows([5, 5])), torch.tensor(random_rows([8, 8], 7))
    before = model(src, tgt)
    for at in (1, 4, 7):
        changed = tgt.clone()
        changed[:, at:] = (tgt[:, at:] - 3) % (VOCAB - 4) + 4
        after = model(src, changed)
        assert_near(after[:, :at], before[:, :at], 1e-6)
        assert (after - before)[:, at].abs().max() > 1e-3


@translators
@torch.no_grad()
def test_every_source_piece_and_earlier_target_piece_is_heard(cell: str, attention: str) -> None:
    model = translator(cell=cell, attention=attention)
    (src, mask), tgt = padded(random_rows([5]), "right", 2), torch.tensor(random_rows([4], 7))
    last = model(src, tgt, src_mask=mask)[0, -1]
    for ids, changed in [(src, range(5)), (tgt, range(4))]:
        for at in changed:
            other = ids.clone()
            other[0, at] = (ids[0, at] - 3) % (VOCAB - 4) + 4
            pair = (other, tgt) if ids is src else (src, other)
            assert (model(*pair, src_mask=mask)[0, -1] - last).abs().max() > 1e-5


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_attention_is_that_of_the_paper(cell: str) -> None:
    """Computes Bahdanau et al. 2015, equations 4 to 6, sentence by sentence, with torch's cells."""
    model = translator(cell=cell, attention="additive")
    decoder, align, src = model.decoder, model.decoder.alignment, torch.tensor([[4, 5, 6]])
    memory, ends = model.encoder.cells(model.src_embedding(src))
    ends = ends[0] if cell == "lstm" else ends
    state = torch.tanh(model.start(ends[-2:].flatten())).view(-1, 2, 1, 8)  # parts layers 1 d_model
    expected = []
    for piece in decoder.embedding(torch.tensor([[7, 8, 9]]))[0]:
        joint = torch.tanh(align.q_proj.weight @ state[0, 1, 0] + align.k_proj(memory[0]))
        context = (joint @ align.core.score[0]).softmax(0) @ memory[0]
        read = torch.cat([piece, context])[None, None]
        out, after = decoder.rnn.cells(read, tuple(state) if cell == "lstm" else state[0])
        state = torch.stack(after) if cell == "lstm" else after[None]
        expected.append(decoder.readout(torch.cat([out[0, 0], context, piece])).view(8, 2).amax(1))
    assert_near(model.hidden(src, torch.tensor([[7, 8, 9]]))[0], torch.stack(expected))


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_the_tap_sees_weights_of_real_pieces(cell: str) -> None:
    model = translator(cell=cell)
    (src, mask), tgt = padded(random_rows([3, 6])), torch.tensor(random_rows([5, 5], 4))
    assert [name for name, _ in model.named_modules() if name.endswith("tap")] == ["decoder.alignment.core.tap"]
    with watching({"weights": model.decoder.alignment.core.tap}) as seen:
        model(src, tgt, src_mask=mask)
    weights = torch.cat(seen["weights"], dim=2)
    assert weights.shape == (2, 1, 5, 6)
    assert_near(weights.sum(-1), torch.ones(2, 1, 5))
    assert not weights[0, :, :, 3:].any()
    assert weights[0, :, :, :3].all()
    assert weights[1].all()


@translators
@torch.no_grad()
def test_beams_of_a_sentence_share_its_source(cell: str, attention: str) -> None:
    model = translator(cell=cell, attention=attention)
    (src, mask), tgt = padded(random_rows([3, 6])), torch.tensor(random_rows([5] * 6, 4))
    state = model.begin(src, mask, beam=3)
    assert {len(part) for part in state.source} == {2}
    rows = torch.arange(2).repeat_interleave(3)
    assert_near(model.decoder(tgt, state), model.hidden(src[rows], tgt, src_mask=mask[rows]))


@translators
def test_gradients_reach_every_parameter(cell: str, attention: str) -> None:
    model = translator(cell=cell, attention=attention, dropout=0.1).train()
    (src, mask), tgt = padded(random_rows([2, 4])), torch.tensor(random_rows([3, 3], 1))
    model(src, tgt, src_mask=mask).logsumexp(-1).square().mean().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    speaker = language_model(cell=cell, dropout=0.1).train()
    speaker(src, documents=(src > 6).long()).logsumexp(-1).square().mean().backward()
    assert [n for n, p in speaker.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("cell", CELLS)
@torch.no_grad()
def test_autocast_shortens_no_state(cell: str) -> None:
    model, (ids, mask) = language_model(cell=cell), padded(random_rows([3, 6]))
    for marks in ({}, {"mask": mask, "documents": mask.long()}):
        cache, full = model.new_cache(2), model.new_cache(2)
        with torch.autocast("cpu", torch.bfloat16):
            model.hidden(ids, **marks, cache=cache)
        model.hidden(ids, **marks, cache=full)
        assert cache.states.dtype == torch.float32
        assert_near(cache.states, full.states, 3e-2)


def test_sizes_and_masks_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match=r"model\.d_model = 7: must be even"):
        RNNTranslator(RNNConfig(d_model=7), src_vocab_size=5, vocab_size=5)
    ids = torch.full((1, 17), 4)
    with pytest.raises(ValueError, match="a sequence of 17 pieces: must be at most max_seq_len = 16"):
        language_model()(ids)
    with pytest.raises(ValueError, match="tgt_mask is False before a real piece"):
        translator()(ids[:, :2], ids[:, :2], tgt_mask=torch.tensor([[False, True]]))


def test_dropout_is_on_what_leaves_and_padding_has_no_embedding() -> None:
    for model in (language_model(dropout=0.5), translator(dropout=0.5)):
        ids = torch.tensor(random_rows([16] * 8))
        args = (ids, ids) if isinstance(model, RNNTranslator) else (ids,)
        assert 0.4 < model.train().hidden(*args).eq(0).float().mean() < 0.6
        assert not model.eval().hidden(*args).eq(0).any()
    padding = RNNTranslator(RNNConfig(d_model=8), src_vocab_size=5, vocab_size=6, pad_id=3)
    assert not padding.src_embedding.tokens.weight[3].any()
    assert not padding.decoder.embedding.tokens.weight[3].any()
