"""As many threads as the environment says; those that share a product change no bit, and stay behind at a fork."""

import os
import threading

import numpy as np
import pytest
import torch

from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.engine.rows import Rows
from clearhead.engine.threads import threads
from clearhead.models.gpt import GPT, GPTConfig
from tests.native import KERNELS, NATIVE, native
from tests.small import random_rows, small

pytestmark = NATIVE


@pytest.fixture(scope="module")
def wide() -> GPT:
    """A model whose products are large enough to be shared."""
    torch.manual_seed(0)
    config = GPTConfig(d_model=512, d_ff=2048, n_heads=8, n_layers=2, max_seq_len=64, dropout=0.0)
    return GPT(config, vocab_size=9000).eval()


def ints(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.array(values, dtype=np.int32)


def written(rows: Rows) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    """Logits of a long prompt, and of some steps after it."""
    rows.join_empty(1)
    logits = [rows.extend(np.arange(40, dtype=np.int32), ints(40))]
    logits += [rows.extend(ints(piece), ints(1)) for piece in (5, 900, 8999, 7)]
    return np.concatenate(logits)


@pytest.mark.parametrize("weights", ["float32", "int8"])
@pytest.mark.parametrize("kernels", KERNELS)
def test_no_bit_depends_on_threads(wide: GPT, kernels: str, weights: str) -> None:
    model = native(wide, kernels, weights)  # type: ignore[arg-type]
    alone = written(model.rows())
    for count in (2, 4, 4, 2):
        assert np.array_equal(written(model.rows(count)), alone)


def test_callers_at_the_same_time(wide: GPT) -> None:
    model = native(wide)
    alone, results = written(model.rows()), []
    callers = [threading.Thread(target=lambda: results.append(written(model.rows(3)))) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 3
    assert all(np.array_equal(result, alone) for result in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_child_has_threads_of_its_own(wide: GPT) -> None:
    model = native(wide)
    alone = written(model.rows(2))  # starts threads here
    child = os.fork()
    if not child:  # pragma: no cover
        os._exit(0 if np.array_equal(written(model.rows(2)), alone) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert np.array_equal(written(model.rows(2)), alone)


def test_one_source_has_all_threads() -> None:
    model = native(small(d_model=512, d_ff=2048, n_heads=8, vocab_size=9000))
    search, sources = NativeSearch(1, 2, 2, 1.0), random_rows([9])
    alone = translate(model, sources, search, limits=[12])
    assert translate(model, sources, search, limits=[12], threads=2) == alone


def test_threads_are_those_asked_for_else_the_cores_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("3", 3), (" 2,1", 2)):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads() == expected
    for value in ("", "0", "many"):
        monkeypatch.setenv("OMP_NUM_THREADS", value)
        assert threads() == len(os.sched_getaffinity(0))
