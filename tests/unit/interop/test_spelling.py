"""Spelling: renaming, joining and transposing tensors, and the way back; what is refused and how."""

from dataclasses import dataclass, field

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.interop.spelling import Spelling, check, demand


@dataclass(frozen=True)
class Block:
    norm: str = "layer"


@dataclass(frozen=True)
class Config:
    d_model: int = 4
    position: str = "learned"
    block: Block = field(default_factory=Block)


SPELLING = Spelling(
    "foreign",
    architecture="ForeignModel",
    stem="model.",
    modules={"table": "model.wte", "layers": "model.h", "q_proj": "c_attn", "k_proj": "c_attn", "norm": "ln"},
    fields={"d_model": "n_embd", "block.norm": "normalization"},
    defaults={},
    ours={"position": ("learned",), "block.norm": ("layer", "rms")},
    theirs={"scaled": (True,), "rope": ("none", None)},
)
OURS = {
    "table.weight": torch.arange(8.0).view(4, 2),
    "layers.10.q_proj.weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]]),
    "layers.10.q_proj.bias": torch.tensor([1.0, 2.0]),
    "layers.10.k_proj.weight": torch.tensor([[5.0, 6.0]]),
    "layers.10.k_proj.bias": torch.tensor([5.0]),
    "layers.10.norm.weight": torch.tensor([7.0, 8.0]),
}


def test_tensors_are_renamed_joined_and_turned() -> None:
    theirs = SPELLING.respell(OURS)
    assert {name: tensor.tolist() for name, tensor in theirs.items()} == {
        "model.wte.weight": OURS["table.weight"].tolist(),
        "model.h.10.c_attn.weight": [[1.0, 3.0, 5.0], [2.0, 4.0, 6.0]],
        "model.h.10.c_attn.bias": [1.0, 2.0, 5.0],
        "model.h.10.ln.weight": [7.0, 8.0],
    }
    assert theirs["model.wte.weight"] is OURS["table.weight"]  # not copied
    back = SPELLING.unspell(theirs, {name: torch.empty_like(tensor) for name, tensor in OURS.items()})
    assert back.keys() == OURS.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in OURS.items())
    assert all(tensor.is_contiguous() for tensor in [*back.values(), *theirs.values()])


def test_configs_are_read_and_written() -> None:
    written = {"model_type": "foreign", "architectures": ["ForeignModel"], "scaled": True, "rope": "none"}
    assert SPELLING.write(Config(block=Block("rms"))) == {**written, "n_embd": 4, "normalization": "rms"}
    tree = SPELLING.read({"n_embd": 6, "normalization": "rms", "more": 1})
    assert tree == {"d_model": 6, "position": "learned", "block": {"norm": "rms"}}
    with pytest.raises(ModelError, match=r"^Hugging Face's foreign: model.block.norm = 'batch': must be 'layer' or"):
        SPELLING.write(Config(block=Block("batch")))


def test_values_beyond_the_rules_are_refused() -> None:
    demand({"a": None, "more": 0}, {"a": (1, None), "b": (2,)}, "file: ")
    with pytest.raises(ModelError, match=r"^file: a = 3: must be 1 or None$"):
        demand({"a": 3}, {"a": (1, None)}, "file: ")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"a": (2, 3)}, "tensor 'b' is missing"),
        ({"a": (2, 3), "b": (4,), "c": (1,)}, "tensor 'c' is not part of this model"),
        ({"a": (3, 2), "b": (4,)}, r"tensor 'a' has shape \[3, 2\], this model needs \[2, 3\]"),
    ],
)
def test_tensors_that_do_not_fit_are_named(shapes: dict[str, tuple[int, ...]], message: str) -> None:
    wanted = {"a": torch.empty(2, 3), "b": torch.empty(4)}
    check(wanted, wanted)
    with pytest.raises(ModelError, match=f"^{message}$"):
        check({name: torch.empty(shape) for name, shape in shapes.items()}, wanted)
