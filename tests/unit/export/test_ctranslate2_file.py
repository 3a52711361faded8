"""model.bin: read back byte by byte; equal arrays once, rows in 8 bits, scalars as they are."""

import struct

import pytest
import torch
from torch import Tensor

from clearhead.export.ctranslate2_file import TRANSFORMER, Quantization, Variables, model_bin

TYPES = (torch.float32, torch.int8, torch.int16, torch.int32, torch.float16, torch.bfloat16)


class Reader:
    """Reads the layout that the module's docstring says."""

    def __init__(self, content: bytes) -> None:
        self.content, self.at = content, 0

    def number(self, form: str) -> int:
        (value,) = struct.unpack_from(f"<{form}", self.content, self.at)
        self.at += struct.calcsize(f"<{form}")
        return int(value)

    def name(self) -> str:
        length = self.number("H")
        text, self.at = self.content[self.at : self.at + length], self.at + length
        assert text.endswith(b"\0")
        return text[:-1].decode()

    def array(self) -> tuple[str, Tensor]:
        name = self.name()
        shape = [self.number("I") for _ in range(self.number("B"))]
        kind, size = TYPES[self.number("B")], self.number("I")
        raw, self.at = bytearray(self.content[self.at : self.at + size]), self.at + size
        return name, torch.frombuffer(raw, dtype=kind).view(shape)


def read(variables: Variables, quantize: Quantization) -> tuple[Variables, dict[str, str]]:
    reader = Reader(model_bin(TRANSFORMER, variables, quantize))
    assert (reader.number("I"), reader.name(), reader.number("I")) == (6, "TransformerSpec", 7)
    arrays = dict(reader.array() for _ in range(reader.number("I")))
    aliases = {reader.name(): reader.name() for _ in range(reader.number("I"))}
    assert reader.at == len(reader.content)
    return arrays, aliases


@pytest.fixture
def variables() -> Variables:
    table = torch.arange(12.0).view(3, 4) - 5
    return {
        "b/weight": table,
        "a/weight": table.clone(),
        "c/weight": torch.tensor([[0.0, 0.0], [1e-3, -2e-3]]),
        "d/bias": torch.tensor([1.0, 2.0]),
        "e": torch.tensor(3, dtype=torch.int16),
        "f": torch.tensor(1, dtype=torch.int8),
        "g": torch.tensor(1, dtype=torch.int8),
    }


def test_equal_arrays_are_written_once_and_scalars_each(variables: Variables) -> None:
    arrays, aliases = read(variables, "float32")
    assert aliases == {"b/weight": "a/weight"}
    assert list(arrays) == ["a/weight", "c/weight", "d/bias", "e", "f", "g"], "in the order of their names"
    assert all(torch.equal(arrays[name], variables[name]) for name in arrays)
    assert arrays["e"].dtype == torch.int16


@pytest.mark.parametrize("quantize", ["int8", "int8_float32"])
def test_rows_of_matrices_become_8_bits_with_a_scale_each(variables: Variables, quantize: Quantization) -> None:
    arrays, aliases = read(variables, quantize)
    assert aliases == {"b/weight": "a/weight"}
    for name in ("a/weight", "c/weight"):
        back = arrays[name].float() / arrays[f"{name}_scale"][:, None]
        largest = variables[name].abs().amax(dim=1, keepdim=True)
        assert arrays[name].dtype == torch.int8
        assert ((back - variables[name]).abs() <= largest / 254 + 1e-9).all()
    assert arrays["a/weight"].abs().amax(dim=1).tolist() == [127, 127, 127]
    assert torch.equal(arrays["d/bias"], variables["d/bias"])


@pytest.mark.parametrize(("quantize", "kind"), [("float16", torch.float16), ("bfloat16", torch.bfloat16)])
def test_half_precision_is_of_everything_that_has_a_point(
    variables: Variables, quantize: Quantization, kind: torch.dtype
) -> None:
    arrays, _ = read(variables, quantize)
    assert {name: array.dtype for name, array in arrays.items()} == {
        **dict.fromkeys(("a/weight", "c/weight", "d/bias"), kind),
        **{"e": torch.int16, "f": torch.int8, "g": torch.int8},
    }
    assert torch.equal(arrays["d/bias"], variables["d/bias"].to(kind))
