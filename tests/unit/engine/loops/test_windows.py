"""Windows slide at the context: what comes next is what follows the window read anew."""

import numpy as np

from clearhead.engine.loops.windows import Texts
from tests.native import NATIVE, native
from tests.small import small_gpt

pytestmark = NATIVE


def test_a_full_window_loses_its_older_half() -> None:
    model = native(small_gpt(max_seq_len=8))
    texts = Texts(model, [[5, 6, 7], [*range(4, 13), 4, 5]])
    assert texts.windows[1] == [7, 8, 9, 10, 11, 12, 4, 5]
    assert texts.room == 4
    for piece in (4, 9, 11, 6, 5, 7, 8):
        texts.advance(np.array([piece, piece + 1], dtype=np.int32))
        assert np.allclose(texts.logits, Texts(model, texts.windows).logits, atol=1e-3)
    assert [len(window) for window in texts.windows] == [6, 7]


def test_rows_go_back_go_twice_and_go() -> None:
    model = native(small_gpt(max_seq_len=8))
    texts = Texts(model, [[5], [6, 7]])
    logits = texts.extend(np.array([[4, 9], [8, 3]], dtype=np.int32))
    assert logits.shape == (2, 2, model.vocab)
    texts.back(1)
    texts.keep(np.array([1, 1], dtype=np.int32))
    assert texts.windows == [[6, 7, 8], [6, 7, 8]]
    texts.advance(np.array([3, 4], dtype=np.int32))
    assert np.allclose(texts.logits[0], logits[1, 1], atol=1e-5)
    assert not np.allclose(texts.logits[0], texts.logits[1])
