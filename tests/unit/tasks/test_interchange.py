"""Models from and to Hugging Face's layout: the same texts on both sides, and weights that stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from clearhead.config import merge
from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.generation import GenerationConfig, Prompt
from clearhead.tasks.generator import LanguageModel
from clearhead.tasks.interchange import export_run, import_run, read_model
from clearhead.tasks.training import train
from tests import toy
from tests.foreign import write_gpt2, write_llama
from tests.small import assert_near

PROMPTS = ["an apple", "He", "a well-known apple 我"]
GPT2_SHAPE: dict[str, Any] = {
    "model": {"position": "learned", "n_kv_heads": 4, "tie": True},
    "train": {"max_steps": 40, "checkpoint_every": 0},
}
LLAMA_SHAPE: dict[str, Any] = {
    "model": {"block": {"norm": "rms", "activation": "swiglu", "bias": False}},
    "train": {"max_steps": 40, "checkpoint_every": 0},
}


def theirs(folder: Path, prompts: list[str]) -> tuple[list[list[int]], list[torch.Tensor]]:
    """What Hugging Face's classes write, greedily, behind each prompt, and the logits that they read it with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    written, logits = [], []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        settings = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        with torch.inference_mode():
            whole = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
            logits.append(model(ids).logits[0])
        written.append(whole[0, ids.shape[1] :].tolist())
    return written, logits


def ours(run: Path, prompts: list[str]) -> tuple[list[list[int]], list[torch.Tensor]]:
    """The same of a run."""
    model, config = LanguageModel.load(run), GenerationConfig(max_new=12)
    found = model.generate(prompts, config, sampling=SamplingConfig(temperature=0.0))
    read = [Prompt.of(text, model.tokenizer, config, context=64, marks=model.marks) for text in prompts]
    with torch.inference_mode():
        return [one.ids for one in found], [model.model(torch.tensor([one.ids]))[0] for one in read]


def assert_same(run: Path, folder: Path, prompts: list[str]) -> None:
    (ids, logits), (their_ids, their_logits) = ours(run, prompts), theirs(folder, prompts)
    assert ids == their_ids
    for one, other in zip(logits, their_logits, strict=True):
        assert_near(one, other, 1e-5)


@pytest.mark.parametrize("write", [write_gpt2, write_llama])
def test_an_imported_model_writes_what_its_own_library_writes(write: Any, tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs")
    run, found = import_run(folder, tmp_path / "run")
    assert found.loaded
    assert_same(run, folder, PROMPTS)
    back = export_run(run, tmp_path / "back")
    before, after = (load_file(path / "model.safetensors") for path in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the round trip is bit-exact"
    assert (back / "tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()
    written, original = (json.loads((path / "config.json").read_text()) for path in (back, folder))
    same = {key for key in written.keys() & original.keys() if not key.endswith("token_id")} - {"n_inner"}
    assert {key: written[key] for key in same} == {key: original[key] for key in same}


@pytest.mark.parametrize("change", [GPT2_SHAPE, LLAMA_SHAPE], ids=["gpt2", "llama"])
def test_an_exported_model_writes_there_what_it_writes_here(change: dict[str, Any], tmp_path: Path) -> None:
    lines = [f"{zh} {en}" for zh, en in toy.demo_lines(40)]
    data = toy.write_documents(tmp_path / "data", lines)
    recipe = toy.write_recipe(tmp_path / "lm.toml", merge(toy.LANGUAGE_MODEL, change))
    run = train(recipe, data=data, out=tmp_path / "run").run
    folder = export_run(run, tmp_path / "exported")
    assert_same(run, folder, [line[:9] for line in lines[:4]])
    with pytest.raises(UsageError, match="is taken: name another with --out"):
        export_run(run, folder)


def test_what_no_class_of_theirs_is(toy_lm_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Hugging Face's llama: model.block.norm = 'layer': must be 'rms'"):
        export_run(toy_lm_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_ours_cannot_represent(tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path / "theirs")
    config = json.loads((folder / "config.json").read_text())
    for change, expected in (
        ({"model_type": "bloom"}, "config.json: model_type = 'bloom': must be"),
        ({"n_layer": 3}, "tensor 'transformer.h.2.attn.c_attn.bias' is missing"),
        ({"vocab_size": 299}, "has shape"),
    ):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelError, match=expected):
            read_model(folder)


def test_a_long_context_does_not_break_the_recipe(tmp_path: Path) -> None:
    found = read_model(write_gpt2(tmp_path, n_positions=5000))
    assert found.recipe.train.batch_tokens == 5000
