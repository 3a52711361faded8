"""Half precision: products use it, norms and losses do not, in all three families; the scale is saved as numbers."""

import json
from typing import get_args

import pytest
import torch
from torch import nn

from clearhead.data.translation import collate
from clearhead.loss import LossConfig, cross_entropy, linear_cross_entropy, squared_error, weighted_cross_entropy
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.models.transformer import Transformer
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import Norm, NormName
from clearhead.tasks.translation.recipe import translation_loss
from clearhead.training import precision
from clearhead.training.precision import LEAST_WORK, Precision, PrecisionName, decide, has_bfloat16, multiply
from tests.small import VOCAB, random_rows, small, small_gpt

HALVES: list[PrecisionName] = ["bfloat16", "float16"]


def kinds(model: nn.Module, wanted: type[nn.Module]) -> set[torch.dtype]:
    """Registers hooks that add the types of the outputs to the returned set as the model runs."""
    types: set[torch.dtype] = set()
    for module in model.modules():
        if isinstance(module, wanted):
            module.register_forward_hook(lambda module, args, out: types.add(out.dtype))
    return types


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("norm", get_args(NormName))
@pytest.mark.parametrize("position", ["pre", "post"])
def test_products_are_half_and_norms_and_loss_are_not(name: PrecisionName, norm: NormName, position: str) -> None:
    block = BlockConfig(norm=norm, norm_position=position, attention="qk_norm")  # type: ignore[arg-type]
    model = small(block=block, n_kv_heads=2).train()
    batch = collate(random_rows([3, 5], seed=1), random_rows([6, 2], seed=2))
    plain = translation_loss(model, batch, LossConfig())[0]
    norms, products = kinds(model, Norm), kinds(model, nn.Linear)
    with Precision(name).autocast():
        loss, count = translation_loss(model, batch, LossConfig())
    assert (norms, products) == ({torch.float32}, {torch.float16 if name == "float16" else torch.bfloat16})
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(plain.detach()), rel=0.03)
    assert not torch.equal(loss, plain)
    loss.backward()
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    assert count == batch.target_count


@pytest.mark.parametrize("name", HALVES)
def test_the_other_families(name: PrecisionName) -> None:
    gpt = small_gpt(block=BlockConfig(attention="qk_norm", norm="rms")).train()
    bert = BertPretraining(BertConfig(d_model=16, d_ff=24, n_heads=4, n_layers=2, max_seq_len=16), vocab_size=VOCAB)
    ids = torch.tensor(random_rows([7, 7]))
    for model in (gpt, bert.train()):
        norms = kinds(model, Norm)
        with Precision(name).autocast():
            model(ids)
        assert norms == {torch.float32}, type(model)


@pytest.mark.parametrize("name", HALVES)
def test_losses_are_computed_in_float32_whatever_they_are_given(name: PrecisionName) -> None:
    torch.manual_seed(0)
    kind = torch.float16 if name == "float16" else torch.bfloat16
    states, weight, targets = torch.randn(9, 8).to(kind), torch.randn(5, 8), torch.randint(5, (9,))
    logits = torch.randn(9, 5).to(kind)
    with Precision(name).autocast():
        losses = [
            linear_cross_entropy(states, weight, targets, LossConfig(label_smoothing=0.0, z_loss=0.01))[0],
            cross_entropy(logits, targets, z_loss=0.01)[0],
            weighted_cross_entropy(logits, targets, torch.arange(5.0))[0],
            squared_error(logits[:, 0], torch.zeros(9))[0],
        ]
    full = logits.float()
    # products have factors of bfloat16 on a CPU, and so rounded logits; what is made of them is float32
    half = states.float() @ weight.T if kind == torch.float16 else (states @ weight.to(kind).T).float()
    expected = [
        cross_entropy(half, targets, z_loss=0.01)[0],
        cross_entropy(full, targets, z_loss=0.01)[0],
        weighted_cross_entropy(full, targets, torch.arange(5.0))[0],
        squared_error(full[:, 0], torch.zeros(9))[0],
    ]
    assert list(map(float, losses)) == pytest.approx(list(map(float, expected)), rel=1e-6)
    assert {loss.dtype for loss in losses} == {torch.float32}


def test_the_scale_is_plain_numbers_and_there_is_one_for_float16_alone() -> None:
    assert Precision("float32").state() == Precision("bfloat16").state() == {}
    first = Precision("float16")
    loss = first.scaler.scale(torch.ones(1, requires_grad=True) * 2)
    assert float(loss.detach()) == 2 * first.scaler.get_scale()
    state = json.loads(json.dumps({**first.state(), "scale": 8.0, "_growth_tracker": 3}))
    second = Precision("float16")
    second.load_state(state)
    assert second.state() == state
    second.load_state({})
    assert second.state() == state
    Precision("float32").load_state(state)


def test_float32_is_the_plain_computation() -> None:
    model: Transformer = small()
    batch = collate(random_rows([3, 5], seed=1), random_rows([6, 2], seed=2))
    with Precision().autocast():
        loss = translation_loss(model, batch, LossConfig())[0]
    assert torch.equal(loss, translation_loss(model, batch, LossConfig())[0])


def decided(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float], work: float = LEAST_WORK) -> tuple[str, str]:
    """Returns what ``decide`` answers where computing takes ``seconds``, and in the first round twice as many."""
    computed: list[str] = []

    def timed(compute: object, name: str, device: torch.device) -> float:
        computed.append(name)
        return seconds[name] * (2 if len(computed) <= len(seconds) else 1)

    monkeypatch.setattr(precision, "_seconds", timed)
    made = decide(torch.device("cpu"), work, lambda numbers: None)
    assert computed[:4] == ["float32", "bfloat16"] * 2 if computed else made.seconds is None
    (line,) = made.lines()
    return made.name, line


def test_auto_is_bfloat16_where_the_processor_has_it_and_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    assert decided(monkeypatch, {"float32": 0.6, "bfloat16": 0.25}) == (
        "bfloat16",
        "precision: bfloat16; a gradient takes 0.25 s in bfloat16, 0.6 s in float32",
    )
    assert decided(monkeypatch, {"float32": 0.6, "bfloat16": 0.56})[0] == "float32", "hardly faster"
    assert decided(monkeypatch, {"float32": 0.6, "bfloat16": 6.0})[0] == "float32"
    small = decided(monkeypatch, {}, LEAST_WORK / 2)
    assert small == ("float32", "precision: float32; the batches are too small to gain by bfloat16")
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: False)
    without = decided(monkeypatch, {})
    assert without == ("float32", "precision: float32; this cpu has no instructions for bfloat16")


def test_a_long_measurement_has_one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr(precision.time, "perf_counter", lambda: float(next(clock)))
    computed: list[str] = []
    made = decide(torch.device("cpu"), LEAST_WORK, lambda numbers: computed.append(numbers.name), "product")
    assert computed == ["float32", "bfloat16"]
    assert made.lines()[0].startswith(f"precision: {made.name}; a product takes ")


def test_what_a_processor_has_is_what_torch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for offered, has in (
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "avx2": True}, False),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda offered=offered: offered)
        assert has_bfloat16(cpu) is has
    monkeypatch.undo()
    assert "architecture" in torch.cpu.get_capabilities()
    assert not has_bfloat16(torch.device("meta"))


def test_a_measurement_is_of_one_thread_and_leaves_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    before, threads, products = torch.get_num_threads(), list[int](), list[torch.dtype]()
    try:
        torch.set_num_threads(2)

        def compute(numbers: Precision) -> None:
            threads.append(torch.get_num_threads())
            multiply(numbers, size=4, device=torch.device("cpu"))
            products.append(numbers.kind)
            if len(threads) == 3:
                raise ValueError("a model of somebody's own")

        with pytest.raises(ValueError, match="own"):
            decide(torch.device("cpu"), LEAST_WORK, compute)
        assert (threads, torch.get_num_threads()) == ([1, 1, 1], 2)
    finally:
        torch.set_num_threads(before)
    assert products[:2] == [torch.float32, torch.bfloat16]
