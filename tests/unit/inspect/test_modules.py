"""The tree of modules against PyTorch's own count of everything."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.inspect.modules import model as look
from tests.families import FAMILIES, IDS, assert_no_watcher, assert_unchanged, families
from tests.small import VOCAB, small, small_gpt


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_are_those_of_pytorch(family: str) -> None:
    model, batch = families()[family]
    view = look(model, batch)
    assert view.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert [one.name for one in view.modules if one.shared is None] == [name for name, _ in model.named_modules()]
    saved = {id(tensor) for tensor in model.state_dict(keep_vars=True).values()}
    buffers = {f"{one.name}.{buffer.name}".removeprefix("."): buffer for one in view.modules for buffer in one.buffers}
    assert buffers.keys() == dict(model.named_buffers()).keys()
    assert all(buffers[name].persistent == (id(tensor) in saved) for name, tensor in model.named_buffers())
    assert not any(one.unregistered or one.hooks for one in view.modules)


@pytest.mark.parametrize("family", FAMILIES)
def test_looking_changes_nothing(family: str) -> None:
    model, batch = families()[family]
    assert_unchanged(model, batch, lambda: look(model, batch))


def test_flops_are_those_of_the_formula() -> None:
    model = small_gpt(tie=True)
    config, seq, rows = model.config, 8, 2
    d, tokens = config.d_model, seq * rows
    layer = tokens * 2 * (4 * d * d + 2 * d * config.d_ff) + rows * 4 * seq * seq * d
    view = look(model, IDS)
    assert view.flops == config.n_layers * layer + tokens * 2 * d * VOCAB
    assert view.flops_per_token == view.flops / tokens
    assert next(one for one in view.modules if one.name == "layers.1").flops == layer


class Odd(nn.Module):
    """Everything that can go wrong with registration."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 3)
        self.again = self.lin
        self.out = nn.Linear(3, 3, bias=False)
        self.out.weight = self.lin.weight
        self.table = torch.ones(4)
        self.layers = [nn.Linear(3, 3), self.lin]
        self.kept = {"a": (torch.zeros(2),), "mine": self.lin.weight}
        self.register_buffer("one", torch.ones(2))
        self.register_buffer("two", torch.ones(2, dtype=torch.long), persistent=False)
        self.lin.bias.requires_grad_(False)
        self.register_forward_hook(self.after)
        self.lin.register_full_backward_hook(lambda *args: None)

    def after(self, *args: object) -> None: ...

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.again(self.lin(x)))


def test_what_is_tied_shared_hooked_and_missed() -> None:
    view = look(Odd(), torch.ones(5, 3))
    root, by_name = view.modules[0], {one.name: one for one in view.modules}
    assert (view.parameters, view.trainable, view.tokens) == (12, 9, 5)
    assert by_name["again"].shared == "lin"
    assert by_name["out"].tied == {"weight": "lin.weight"}
    assert root.unregistered == ["table (Tensor [4])", "layers[0] (Linear)", "kept['a'][0] (Tensor [2])"]
    assert [(one.name, one.persistent, one.bytes) for one in root.buffers] == [("one", True, 8), ("two", False, 16)]
    assert root.hooks == ["Odd.after (after forward)"]
    assert by_name["lin"].hooks[0].endswith("<lambda> (after backward)")
    assert by_name["lin"].calls == 2
    assert by_name["out"].output == "5x3"
    text = "\n".join(view.lines(80))
    for line in ("not registered: Odd.layers[0] (Linear)", "tied: out.weight is lin.weight", "shared: again is lin"):
        assert line in text


def test_alike_layers_are_one_in_the_terminal_and_all_in_json() -> None:
    view = look(small(), None)
    assert sum("(and 1 alike)" in line for line in view.lines(100)) == 2
    names = [one["name"] for one in view.as_dict()["modules"]]
    assert "decoder.layers.1.cross_attn.q_proj" in names
    assert view.as_dict()["flops_per_token"] == 0


def test_a_model_without_anything() -> None:
    view = look(nn.Identity(), torch.ones(2))
    assert (view.parameters, view.flops) == (0, 0)
    assert any("no parameters or buffers" in line for line in view.lines(80))


def test_errors_of_the_model_come_through_and_hooks_are_gone() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        look(nn.Linear(3, 3), torch.ones(2, 4))
    assert_no_watcher(nn.Linear(3, 3))
