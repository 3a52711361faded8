"""What recipes of models that learn by gradients share: where LoRA is laid on, and pieces that are encoded once."""

import logging
from pathlib import Path

import pytest
import torch

import clearhead
from clearhead.config import read_toml, write_toml
from clearhead.errors import UsageError
from clearhead.nn.lora import LoraConfig, LoraLinear
from clearhead.tasks.catalog import resolve
from clearhead.tasks.gradient_recipe import adapt_layers, check_encoded_once
from clearhead.text.tokenizer import TokenizerConfig
from clearhead.verbs.train import train
from tests.small import small
from tests.toy import CLASSIFY, write_recipe


def test_layers_are_adapted_by_name_or_the_name_is_refused() -> None:
    model = small()
    adapt_layers(model, None)
    assert not any(isinstance(part, LoraLinear) for part in model.modules())
    adapt_layers(model, LoraConfig(targets=("q_proj",)))
    assert any(isinstance(part, LoraLinear) for part in model.modules())
    with pytest.raises(UsageError, match="nothing_like_it"):
        adapt_layers(small(), LoraConfig(targets=("nothing_like_it",)))


def test_pieces_drawn_anew_do_not_go_with_text_that_is_encoded_once() -> None:
    check_encoded_once(TokenizerConfig())
    with pytest.raises(ValueError, match=r"tokenizer.dropout = 0.1: text is encoded once, so it must be 0"):
        check_encoded_once(TokenizerConfig(dropout=0.1))


@pytest.mark.parametrize(("task", "table"), [("masked", "masked"), ("classify", "finetune")])
def test_older_recipes_have_lora_inside_a_table_and_are_told(
    task: str, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    old = {"task": task, "start": "runs/x", table: {"lora": {"rank": 3}}, "lora": {"alpha": 4.0}}
    new = {"task": task, "start": "runs/x", "lora": {"rank": 3, "alpha": 4.0}}
    with caplog.at_level(logging.WARNING, logger="clearhead"):
        assert resolve(old, "here") == resolve(new, "here")
    assert caplog.messages == [f"here: the key {table}.lora is lora now"]


@pytest.mark.long
def test_an_older_run_with_lora_loads_and_goes_on_to_the_bit(
    labelled: Path, toy_classifier: Path, tmp_path: Path
) -> None:
    tree = {**CLASSIFY, "start": str(toy_classifier), "model": {}, "tokenizer": {}, "lora": {"rank": 2}}
    tree |= {"finetune": {}, "train": {**CLASSIFY["train"], "max_steps": 4, "checkpoint_every": 2}}  # type: ignore[dict-item]
    recipe = write_recipe(tmp_path / "lora.toml", tree)
    whole = train(recipe, data=labelled, out=tmp_path / "whole").run
    older = tmp_path / "older"
    train(recipe, data=labelled, out=older, overrides=["train.max_steps=2"])
    old = read_toml(older / "recipe.toml")
    old["finetune"]["lora"] = old.pop("lora")
    (older / "recipe.toml").write_text(write_toml(old), encoding="utf-8")
    expected = clearhead.load(tmp_path / "whole", checkpoint="step-00000002", device="cpu").model.state_dict()
    loaded = clearhead.load(older, device="cpu").model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.items())
    train(recipe, data=labelled, out=older, resume=True, overrides=["train.max_steps=4"])
    one, other = (clearhead.load(run, device="cpu").model.state_dict() for run in (whole, older))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
