"""Weights of 8 bits: near those of float32, made without touching what the whole process shares."""

import threading
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from clearhead.engine.choose import KINDS, fault_of
from clearhead.engine.copies.int8 import BACKENDS, Int8Linear
from clearhead.engine.copies.linear import FastLinear
from clearhead.engine.copies.packed import pack
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB

FAULT = fault_of(Int8Linear, tolerance=KINDS["int8"][1])
pytestmark = pytest.mark.skipif(bool(FAULT), reason=FAULT)


@pytest.mark.parametrize("activation", ["relu", "gelu", "swiglu"])
def test_weights_of_8_bits_are_near(activation: Any) -> None:
    torch.manual_seed(0)
    config = GPTConfig(
        d_model=64, d_ff=128, n_heads=4, n_layers=2, max_seq_len=32, block=BlockConfig(activation=activation)
    )
    model = GPT(config, vocab_size=VOCAB).eval()
    for weight in model.parameters():
        weight.data *= 2
    packed, ids = pack(model, Int8Linear), torch.tensor([[4, 5, 6, 7, 8]])
    assert {type(module) for module in packed.modules() if isinstance(module, FastLinear)} == {Int8Linear}
    with torch.inference_mode():
        expected, cache = model(ids), packed.new_cache(1)
        for place in range(5):
            found = packed(ids[:, place : place + 1], cache=cache)[:, 0]
            error = float((found - expected[:, place]).square().mean().sqrt() / expected.std())
            assert 0 < error < 0.05


def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 48).requires_grad_(False)


def test_each_output_has_a_scale_of_its_own() -> None:
    """One row of large weights leaves the others as exact as they were."""
    plain, x = layer(), torch.randn(4, 64)
    before = Int8Linear(plain)(x)
    plain.weight[5] *= 1000
    plain.bias[5] = 0
    after = Int8Linear(plain)(x)
    others = [row for row in range(48) if row != 5]
    assert torch.equal(after[:, others], before[:, others])


def test_without_vnni_inputs_keep_7_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: {"avx512_vnni": has})
        assert Int8Linear(layer()).seven_bits is not has
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert Int8Linear(layer()).seven_bits, "which is right on any machine"


def test_backends_that_it_names_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x, results = torch.randn(4, 64), []
    for backend in BACKENDS:
        with monkeypatch.context() as patch:
            patch.setattr(torch.backends.quantized, "engine", backend)
            results.append(Int8Linear(layer())(x))
    assert torch.equal(*results)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack")
    with pytest.raises(RuntimeError, match=r"^torch.backends.quantized.engine = 'qnnpack': must be x86 or fbgemm$"):
        Int8Linear(layer())


class Recorder:
    """Stands for ``torch.backends.quantized`` and notes what is set on it."""

    def __init__(self, engine: str) -> None:
        self.__dict__.update(engine=engine, changes=[])

    def __setattr__(self, name: str, value: Any) -> None:
        self.changes.append((name, value))


def test_threads_pack_at_once_and_change_no_global(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(torch.backends.quantized.engine)
    monkeypatch.setattr(torch.backends, "quantized", recorder)
    filters, x, results, gate = list(warnings.filters), torch.randn(4, 64), list[torch.Tensor](), threading.Barrier(2)

    def work() -> None:
        gate.wait(timeout=60)
        for _ in range(50):
            results.append(Int8Linear(plain)(x))

    plain = layer()
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(results) == 100
    assert all(torch.equal(result, results[0]) for result in results)
    assert recorder.changes == []
    assert list(warnings.filters) == filters
