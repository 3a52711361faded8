"""Rows of texts: each sees its own window or all it has read, whatever stands beside it; beams, against brute force."""

import functools
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.rows import NgramRowsDecoding, PromptedDecoding, RowsDecoding
from clearhead.decode.search import beam_search
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.engine.copies.packed import pack
from clearhead.models.gpt import GPT
from clearhead.models.ngram import Ngram, NgramConfig, Smoothing
from clearhead.nn.position import PositionName
from tests.small import VOCAB, assert_near, begin_of, random_rows, small_gpt, small_ngram, small_rnn
from tests.table import Ids, Table, brute_force

POSITIONS = get_args(PositionName)
CONTEXT = 8
LENGTHS = [5, 1, 8, 3, 11]


def after(window: list[int], piece: int, context: int = CONTEXT) -> list[int]:
    """The window after one more piece, as it is defined."""
    kept = window if len(window) < context else window[len(window) - context // 2 :]
    return [*kept, piece]


def expected(model: GPT, window: list[int]) -> Tensor:
    return model(torch.tensor([window]))[0, -1]


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
@torch.inference_mode()
def test_each_row_has_the_logits_of_its_own_window(position: str, packed: bool) -> None:
    """Over four slides each, at different steps; rows leave, and the windows of those that stay remain theirs."""
    model = small_gpt(position=position, n_kv_heads=2, max_seq_len=CONTEXT)
    windows = [row[-CONTEXT:] for row in random_rows(LENGTHS)]
    decoding = RowsDecoding(pack(model, PackedLinear) if packed else model, random_rows(LENGTHS))
    for step in range(20):
        for row, window in enumerate(windows):
            assert_near(decoding.logits[row], expected(model, window), 1e-4)
        assert decoding.lengths == [len(window) for window in windows]
        if step in (3, 6):
            stay = [row for row in range(len(windows)) if row != step % 4]
            decoding.keep(torch.tensor(stay))
            windows = [windows[row] for row in stay]
            assert decoding.cache.length == max(map(len, windows)), "columns that are padding in every row are dropped"
        pieces = [(5 * step + 3 * row) % VOCAB for row in range(len(windows))]
        decoding.advance(torch.tensor(pieces))
        windows = [after(window, piece) for window, piece in zip(windows, pieces, strict=True)]


@pytest.mark.parametrize("context", [1, 2, 3])
@torch.inference_mode()
def test_the_smallest_windows(context: int) -> None:
    model, windows = small_gpt(max_seq_len=context), [[4], [5, 6][-context:]]
    decoding = RowsDecoding(model, [[4], [5, 6]])
    for piece in range(4, 11):
        for row, window in enumerate(windows):
            assert_near(decoding.logits[row], expected(model, window), 1e-4)
        decoding.advance(torch.tensor([piece, piece]))
        windows = [after(window, piece, context) for window in windows]


@torch.inference_mode()
def test_several_pieces_are_read_at_once_and_taken_back() -> None:
    model, window = small_gpt(position="rotary", max_seq_len=CONTEXT), [4, 5, 6]
    decoding, plain = RowsDecoding(model, [window]), RowsDecoding(model, [window])
    calls = [([7, 8], 3), ([4], 1), ([9, 10], 0), ([11], 3), ([6], 2), ([5, 6], 0), ([7, 8, 9, 10], 0), ([4], 1)]
    for (new, wrong), room in zip(calls, [5, 3, 2, 4, 3, 2, 4, 4], strict=True):
        ahead = [*new, *[12] * wrong]
        assert decoding.room == room >= len(ahead)
        found = decoding.extend(torch.tensor([ahead]))[0]
        for piece, logits in zip(new, found, strict=False):
            assert_near(logits, plain.advance(torch.tensor([piece]))[0], 1e-4)
        decoding.back(wrong)
        assert (decoding.ids.tolist(), decoding.lengths) == (plain.ids.tolist(), plain.lengths)


UNLIMITED = {"lstm": small_rnn, "gru": partial(small_rnn, cell="gru"), "ngram": small_ngram}


def whole(model: Any, text: list[int]) -> Tensor:
    """The logits of what follows a text, read whole by a model that has no window."""
    if isinstance(model, Ngram):
        return torch.from_numpy(model.next_probs(text)).log().float()
    cache = model.new_cache(1)
    return [model(torch.tensor([[piece]]), cache=cache)[0, -1] for piece in text][-1]


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kind", UNLIMITED)
@torch.inference_mode()
def test_without_a_window_each_row_has_the_logits_of_its_whole_text(kind: str) -> None:
    model, texts = UNLIMITED[kind](), random_rows(LENGTHS)
    rows = begin_of(model)(texts)
    for step in range(12):
        for row, text in enumerate(texts):
            assert_near(rows.logits[row], whole(model, text), 1e-4)
        if step == 3:
            rows.keep(torch.tensor([4, 0, 0, 2]))
            texts = [texts[row] for row in (4, 0, 0, 2)]
            assert_near(rows.logits[2], whole(model, texts[2]), 1e-4)
        if step == 6:
            rows.reorder(torch.tensor([0, 2, 1, 1]))
            texts = [texts[row] for row in (0, 2, 1, 1)]
        pieces = [4 + (5 * step + 3 * row) % 9 for row in range(len(texts))]
        assert rows.advance(torch.tensor(pieces)) is rows.logits
        texts = [[*text, piece] for text, piece in zip(texts, pieces, strict=True)]


@pytest.mark.parametrize("kind", UNLIMITED)
@torch.inference_mode()
def test_without_a_window_as_many_pieces_as_there_is_room_are_taken_back(kind: str) -> None:
    model, texts = UNLIMITED[kind](), random_rows([3, 7])
    rows = begin_of(model)(texts)
    count = min(rows.room, 40)
    new = torch.randint(4, VOCAB, (2, count))
    for _ in range(2):  # what was taken back leaves nothing behind
        found = rows.extend(new)
        assert found.shape == (2, count, VOCAB)
        for row, text in enumerate(texts):
            for place in (0, 1, count - 1):
                assert_near(found[row, place], whole(model, text + new[row, : place + 1].tolist()), 1e-4)
        rows.back(count)
    rows.back(0)
    assert_near(rows.extend(new[:, :1])[1, 0], whole(model, [*texts[1], int(new[1, 0])]), 1e-4)


@pytest.mark.parametrize("smoothing", get_args(Smoothing))
def test_documents_counted_apart_begin_from_nothing_behind_an_end_mark(smoothing: Smoothing) -> None:
    documents = [[*row, 2] for row in random_rows([9, 3, 12, 1, 20])]
    tokens, starts = np.array([piece for row in documents for piece in row]), np.array([0, 10, 14, 27, 29])
    apart, across = (
        Ngram.train(tokens, NgramConfig(4, smoothing), vocab_size=VOCAB, starts=begins) for begins in (starts, None)
    )
    rows = NgramRowsDecoding(apart, [[2], [2, 7, 8, 9, 4], [5, 2, 7], [6, 2]])
    for row, context in enumerate(([], [7, 8, 9, 4], [7], [])):
        assert_near(rows.logits[row], whole(apart, context))
    assert_near(rows.advance(torch.tensor([5] * 4))[3], whole(apart, [5]))
    assert not torch.allclose(NgramRowsDecoding(across, [[2]]).logits[0], whole(across, []), atol=0.1)


MODELS: dict[str, Any] = {name: partial(small_gpt, position=name, max_seq_len=6) for name in POSITIONS} | UNLIMITED


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kind", MODELS)
def test_beams_over_prompts_equal_brute_force(kind: str) -> None:
    vocab, limit, beam, prompts = 4, 4, 3**3 * 4, [[3, 2], [2], [3, 3, 2, 0, 3]]
    model = MODELS[kind](vocab_size=vocab)

    class Model(Table):
        @functools.cache  # noqa: B019
        def log_probs(self, sentence: int, history: Ids) -> list[float]:
            window = prompts[sentence]
            for piece in history[1:]:  # without the piece that a search starts with
                window = after(window, piece, 6 if kind in POSITIONS else 99)
            logits = expected(model, window) if kind in POSITIONS else whole(model, window)
            return logits.log_softmax(0).tolist()

    with torch.inference_mode():
        found = beam_search(
            PromptedDecoding(begin_of(model), prompts, beam=beam),
            SearchConfig(beam, 40),
            limits=[limit] * len(prompts),
            bos_id=0,
            eos_id=1,
        )
        for sentence, ranked in enumerate(found):
            best = brute_force(Model([0], 1, vocab=vocab), limit, 1.0, sentence)[:40]
            assert [tuple(one.ids) for one in ranked] == [ids for ids, *_ in best]
            assert [one.rank_score for one in ranked] == pytest.approx([score for _, score, _ in best], abs=1e-4)


@pytest.mark.parametrize("position", ["learned", "alibi"])
def test_a_beam_gives_what_each_prompt_gives_alone(position: str) -> None:
    model, prompts = small_gpt(position=position, max_seq_len=CONTEXT), random_rows(LENGTHS, seed=3)

    def search(rows: list[list[int]]) -> Any:
        decoding = PromptedDecoding(begin_of(model), rows, beam=3)
        return beam_search(decoding, SearchConfig(3), limits=[14] * len(rows), bos_id=0, eos_id=2)

    for prompt, ranked in zip(prompts, search(prompts), strict=True):
        one, alone = ranked[0], search([prompt])[0][0]
        assert one.ids == alone.ids
        assert one.log_probs == pytest.approx(alone.log_probs, abs=1e-4)
