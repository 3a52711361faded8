"""Whatever kernel of PyTorch is missing or changed, models load and write the same, or one line says what is wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from clearhead.decode.sampling import SamplingConfig
from clearhead.engine.choose import KINDS, Choice, Weights, choose, fault_of
from clearhead.engine.copies.int8 import Int8Linear
from clearhead.engine.copies.linear import FastLinear
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.engine.rows import NativeModel
from clearhead.errors import UsageError
from clearhead.nn.layer import BlockConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE
from tests.small import small, small_gpt, small_rnn

FLOAT_KERNELS = ["_reorder_linear_weight", "_linear_pointwise", "_linear_pointwise.binary"]
INT8_KERNELS = ["linear_prepack", "linear_dynamic", "linear_relu_dynamic"]
pytestmark = pytest.mark.usefixtures("without_native")
PROMPTS = ["我", "她们在", "他们在学校"]


@pytest.fixture
def without_native(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves decoding to PyTorch, as where there is no native library."""
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")


class Without:
    """A namespace or an operator of ``torch.ops`` in which one name is missing."""

    def __init__(self, whole: Any, name: str) -> None:
        self._whole, (self._name, _, self._rest) = whole, name.partition(".")

    def __getattr__(self, name: str) -> Any:
        if name != self._name:
            return getattr(self._whole, name)
        if self._rest:
            return Without(getattr(self._whole, name), self._rest)
        raise AttributeError(f"no attribute {name!r}")

    def __call__(self, *inputs: Any) -> Any:
        return self._whole(*inputs)


def take_away(monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    space = "quantized" if kernel in INT8_KERNELS else "mkldnn"
    monkeypatch.setattr(torch.ops, space, Without(getattr(torch.ops, space), kernel))


def translations(run: Path) -> tuple[bool, list[str]]:
    translator = Translator.load(run, device="cpu")
    return translator.writer is not translator.model, [one.text for one in translator.translate(PROMPTS, beam=2)]


def texts(run: Path) -> tuple[bool, list[str]]:
    model = LanguageModel.load(run, device="cpu")
    written = model.generate(PROMPTS, GenerationConfig(max_new=20), sampling=SamplingConfig(seed=3))
    return model.writer is not model.model, [one.text for one in written]


@pytest.mark.long_but(every=2)
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch was built without oneDNN")
@pytest.mark.parametrize(("fixture", "write"), [("toy_run", translations), ("toy_lm_run", texts)])
def test_without_a_kernel_the_model_itself_writes_the_same(
    fixture: str,
    write: Callable[[Path], tuple[bool, list[str]]],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = request.getfixturevalue(fixture)
    packed, expected = write(run)
    assert packed
    assert any(expected)
    for kernel in FLOAT_KERNELS:
        with monkeypatch.context() as patch:
            take_away(patch, kernel)
            assert write(run) == (False, expected), kernel


@pytest.mark.parametrize("kernel", INT8_KERNELS)
def test_without_a_kernel_int8_ends_with_one_line(
    kernel: str, toy_lm_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_away(monkeypatch, kernel)
    line = rf"^weights = 'int8': the PyTorch installed here cannot compute with such \(AttributeError: .*'{kernel}'\)$"
    with pytest.raises(UsageError, match=line):
        LanguageModel.load(toy_lm_run, device="cpu", weights="int8")


def test_the_setting_that_int8_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.quantized, "engine", "qnnpack")
    with pytest.raises(UsageError, match=r"\(RuntimeError: torch.backends.quantized.engine = 'qnnpack': must be x86"):
        choose(small_gpt(), "int8")


class Doubling(PackedLinear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class NotAdding(PackedLinear):
    def add_to(self, residual: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.forward(x)


class Nothing(PackedLinear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, float("nan"))


@pytest.mark.parametrize("kind", [Doubling, NotAdding, Nothing])
def test_kernels_that_compute_something_else_are_seen(kind: type[FastLinear]) -> None:
    assert fault_of(kind, tolerance=0.05) == f"the kernels of {kind.__name__} give other results than a linear layer"


def test_the_probe_draws_no_random_numbers_and_ignores_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_rng_state()
    faults = [fault_of(linear, tolerance=tolerance) for linear, tolerance in KINDS.values()]
    assert torch.equal(torch.get_rng_state(), before)
    default = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert [fault_of(linear, tolerance=tolerance) for linear, tolerance in KINDS.values()] == faults
    finally:
        torch.set_default_dtype(default)


def test_what_cannot_be_packed_decodes_by_itself() -> None:
    recurrent = small_rnn()
    for model in (small().double(), small().to("meta"), recurrent):
        choice: Choice[torch.nn.Module] = choose(model)
        assert (choice.engine, choice.prepare()) == ("torch", None)
        assert choice.why == "only a Transformer or GPT of our modules, in float32 on a CPU, is packed"
        with pytest.raises(UsageError, match=r"^weights = 'int8': generation with such is for a GPT in float32 on"):
            choose(model, "int8")


@pytest.mark.parametrize(("weights", "linear"), [("float32", PackedLinear), ("int8", Int8Linear)])
def test_the_copy_has_the_weights_that_were_asked_for(weights: Weights, linear: type[FastLinear]) -> None:
    if fault := fault_of(linear, tolerance=KINDS[weights][1]):
        pytest.skip(fault)
    for model in (small(), small_gpt()):
        choice = choose(model, weights)
        packed = choice.prepare()
        assert (choice.engine, choice.why) == ("packed", "")
        assert isinstance(packed, torch.nn.Module)
        assert packed is not model
        assert {type(module) for module in packed.modules() if isinstance(module, FastLinear)} == {linear}


@NATIVE
def test_the_native_engine_computes_what_it_covers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLEARHEAD_ENGINE")
    for weights in get_args(Weights):
        choice = choose(small(), weights)
        native = choice.prepare()
        assert (choice.engine, choice.why) == ("native", "")
        assert isinstance(native, NativeModel)
        assert native.image.weights == weights
    assert choose(small(), engine="torch").engine == "packed"
    assert choose(small(block=BlockConfig(norm="batch"))).engine == "packed"
    with pytest.raises(UsageError, match=r"^engine = 'native': BatchNorm is computed by PyTorch$"):
        choose(small(block=BlockConfig(norm="batch")), engine="native")
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(UsageError, match=r"^engine = 'native': CLEARHEAD_ENGINE is off$"):
        choose(small(), engine="native")


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
def test_pytorch_has_no_such_weights(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    line = rf"^weights = '{weights}': the native engine alone computes with such "
    with pytest.raises(UsageError, match=rf"{line}\(CLEARHEAD_ENGINE is off\)$"):
        choose(small(), weights)
    with pytest.raises(UsageError, match=rf"{line}\(engine is 'torch'\)$"):
        choose(small(), weights, "torch")
    monkeypatch.delenv("CLEARHEAD_ENGINE")
    with pytest.raises(UsageError, match=rf"{line}\(BatchNorm is computed by PyTorch\)$"):
        choose(small(block=BlockConfig(norm="batch")), weights)


class Doubled(torch.nn.Module):
    """A feed-forward network that is none of the library's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


def test_a_module_of_ones_own_is_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_gpt().eval()
    assert choose(model).engine == "packed"
    model.layers[0].mlp = Doubled()
    assert choose(model).engine == "torch"
    monkeypatch.delenv("CLEARHEAD_ENGINE")
    assert choose(model).engine == "torch"
    with pytest.raises(UsageError, match="Doubled is computed by PyTorch"):
        choose(model, engine="native")
