"""The failed step of a run, taken again: the module is named, on the way there and on the way back."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from clearhead.errors import ModelError
from clearhead.tasks.translation.job import TranslationJob
from clearhead.verbs.replay import replay
from clearhead.verbs.train import train
from tests.toy import RECIPE, clearhead, write_recipe


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, toy_data: Path) -> Path:
    """A run in which one layer gave inf."""
    folder = tmp_path_factory.mktemp("failed")
    recipe = write_recipe(folder / "recipe.toml", RECIPE)
    patched = TranslationJob.arrange

    def arrange(self: TranslationJob) -> None:
        patched(self)
        weight = self.model.decoder.layers[1].mlp.down_proj.weight  # type: ignore[union-attr]
        weight.data.fill_(3e38)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TranslationJob, "arrange", arrange)
        overrides = ["train.max_skipped_steps=2"]
        with pytest.raises(ModelError, match=r"^step 1: loss .* not finite 2 times in a row") as raised:
            train(recipe, data=toy_data, out=folder / "run", overrides=overrides)
    assert f"clearhead replay {folder / 'run'}" in str(raised.value)
    return folder / "run"


def test_the_module_is_named(failed: Path) -> None:
    found = replay(failed)
    assert found.first.startswith("decoder.layers.1.mlp.down_proj (Linear): ")
    assert "of inputs up to" in found.first
    assert found.where.startswith("lines ")
    assert not math.isfinite(found.losses[0])


def test_from_the_command_line(failed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "replay", failed)
    assert said.code == 0
    assert "first not finite: decoder.layers.1.mlp.down_proj" in said.out
    assert '"first": "decoder.layers.1.mlp' in clearhead(capsys, "replay", failed, "--json").out


def test_a_gradient_is_found_on_the_way_back(failed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def harmless(model: nn.Module, tensors: object, source: str) -> None:
        torch.manual_seed(0)
        for parameter in model.parameters():  # none is drawn where weights are to be loaded
            nn.init.normal_(parameter, std=0.02)
        norm = model.get_submodule("encoder.layers.0.mlp")
        norm.register_forward_hook(lambda module, args, out: _Steep.apply(out))  # type: ignore[no-untyped-call]

    monkeypatch.setattr("clearhead.verbs.replay.load_model_tensors", harmless)
    found = replay(failed)
    assert math.isfinite(found.losses[0])
    assert found.first.startswith("on the way back, the gradient of what encoder.layers.0.mlp")


class _Steep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: object, *grads: torch.Tensor) -> torch.Tensor:
        return grads[0] * float("inf")


def test_nothing_to_replay(toy_run: Path) -> None:
    with pytest.raises(ModelError, match="has no step to replay"):
        replay(toy_run)
