"""Parity: a run and the Marian or Blenderbot that it came from, or became, write the same pieces."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clearhead.config import merge
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.catalog import read_model
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.run import export_run
from clearhead.verbs.train import train
from tests import toy
from tests.foreign import write_gpt2, write_marian
from tests.small import assert_near


def assert_same_translator(run: Path, folder: Path, texts: list[str]) -> None:
    """Ids of each text, greedily, are the same here and there, and so are the probabilities that they have."""
    from transformers import AutoModelForSeq2SeqLM

    found, model = Translator.load(run), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = found.tokenizers.tgt
    ours = found.translate(texts, beam=1)
    refused = [[tokenizer.ids.unk], [tokenizer.ids.pad]]
    refused += [[tokenizer.ids.bos]] if tokenizer.ids.bos != tokenizer.ids.pad else []
    words = {
        "do_sample": False,
        "num_beams": 1,
        "bad_words_ids": refused,
        "max_length": 40,
        "forced_eos_token_id": None,
    }
    for text, one in zip(texts, ours, strict=True):
        ids = torch.tensor([[*found.tokenizers.src.encode(text), tokenizer.ids.eos]])
        with torch.inference_mode():
            theirs = model.generate(ids, attention_mask=torch.ones_like(ids), **words)[0].tolist()
            logits = model(input_ids=ids, decoder_input_ids=torch.tensor([theirs[:-1]])).logits[0]
            own = found.model(ids, torch.tensor([theirs[:-1]]))[0]
        assert_near(own, logits, 1e-4)
        assert one.target_ids[: len(theirs) - 1] == theirs[1 : len(one.target_ids) + 1], text
        assert len(one.target_ids) > 2


def test_an_imported_marian_translates_as_its_own_library(tmp_path: Path) -> None:
    folder = write_marian(tmp_path / "theirs")
    run, found = import_run(folder, tmp_path / "run")
    assert (found.recipe.task, found.recipe.src, found.recipe.tgt) == ("translation", "en", "zh")
    assert_same_translator(run, folder, ["He eats an apple.", "an apple", "苹果"])
    back = export_run(run, tmp_path / "back")
    before, after = (load_file(path / "model.safetensors") for path in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the round trip is bit-exact"
    for name in ("source.spm", "target.spm"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    assert json.loads((back / "vocab.json").read_text()) == json.loads((folder / "vocab.json").read_text())
    assert_same_translator(run, back, ["He eats an apple."])
    again, _ = import_run(back, tmp_path / "again", src="deu", tgt="fra")
    assert Translator.load(again).recipe.src == "deu"
    data = toy.write_corpus(tmp_path / "data", [("苹果", "吃了 苹果"), ("an apple", "一"), ("eats", "我")], 1)
    for side, language in (("zh", "en"), ("en", "zh")):
        for stem in ("train", "valid", "test"):
            (data / f"{stem}.{side}").rename(data / f"{stem}.{language}.new")
    for path in data.glob("*.new"):
        path.rename(path.with_suffix(""))
    assert evaluate_translator(Translator.load(run), data, "test").loss > 0
    (folder / "tokenizer_config.json").unlink()
    with pytest.raises(UsageError, match="does not say its languages: add --src and --tgt"):
        read_model(folder)
    with pytest.raises(UsageError, match=r"--src and --tgt: .* has no translator"):
        read_model(write_gpt2(tmp_path / "gpt2"), src="en")


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("kind", ["byte_bpe", "unigram"])
def test_an_exported_translator_translates_there_as_here(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    data = toy.write_corpus(tmp_path / "data", toy.demo_lines(60))
    change = {"tokenizer": {"kind": kind}, "model": {"n_kv_heads": 4, "block": {"norm_position": "post"}}}
    tree = merge(toy.RECIPE, merge(change, {"train": {"max_steps": 20, "checkpoint_every": 0}}))
    run = train(toy.write_recipe(tmp_path / "mt.toml", tree), data=data, out=tmp_path / "run").run
    folder = export_run(run, tmp_path / "exported")
    texts = (data / "test.zh").read_text("utf-8").splitlines()[:4]
    found, tokenizer = Translator.load(run), AutoTokenizer.from_pretrained(folder)
    for text in texts:
        assert tokenizer(text).input_ids == [*found.tokenizers.src.encode(text), found.tokenizers.src.ids.eos]
    assert_same_translator(run, folder, texts)
    again, _ = import_run(folder, tmp_path / "again")
    other = Translator.load(again)
    state = other.model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.model.state_dict().items())
    ours, theirs = (each.translate(texts, limit=63) for each in (found, other))  # the folder holds no length limit
    assert [one.text for one in ours] == [one.text for one in theirs]


@pytest.mark.long
def test_a_pre_norm_translator_translates_there_as_here(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    """Loaded as their users load it, and asked without any argument; every line of the valid and the test split."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = export_run(toy_run, tmp_path / "out")
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert type(model).__name__ == "BlenderbotForConditionalGeneration"
    texts = [line for split in ("valid", "test") for line in (toy_data / f"{split}.zh").read_text("utf-8").splitlines()]
    found = Translator.load(toy_run)
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    assert [*batch] == ["input_ids", "attention_mask"]
    theirs = tokenizer.batch_decode(model.generate(**batch), skip_special_tokens=True)
    # a line of ours has no space at its ends, which a model that has learned little may write
    assert [text.strip() for text in theirs] == [one.text for one in found.translate(texts, beam=1, limit=63)]
    assert len({*theirs}) > 4
    assert_same_translator(toy_run, folder, texts[:3])


def test_a_translator_that_no_class_of_theirs_is(tmp_path: Path) -> None:
    words = {"train": {"max_steps": 1, "checkpoint_every": 0}, "model": {"position": "rotary"}}
    data = toy.write_corpus(tmp_path / "data", toy.demo_lines(20))
    run = train(toy.write_recipe(tmp_path / "mt.toml", merge(toy.RECIPE, words)), data=data, out=tmp_path / "run").run
    with pytest.raises(ModelError, match=r"Hugging Face's blenderbot: model.position = 'rotary': must be 'sinusoidal'"):
        export_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()
