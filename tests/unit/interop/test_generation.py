"""Generation settings of folders: every end mark ends a text, as in their library, and what is not taken is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError
from clearhead.interop.generation import ends_of, generation_config, generation_file, not_taken, with_generation
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.text.special import SpecialIds
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.run import export_run
from tests.foreign import write_gpt2

GPT2 = {"model_type": "gpt2", "eos_token_id": 3}


def settings(folder: Path, **words: Any) -> Path:
    (folder / "generation_config.json").write_text(json.dumps(words))
    return folder


@pytest.mark.parametrize(
    ("config", "words", "ends"),
    [
        (GPT2, None, (3,)),
        ({**GPT2, "eos_token_id": [5, 3, 5]}, None, (5, 3)),
        ({"model_type": "llama"}, None, (2,)),  # their default
        ({"model_type": "gpt2"}, None, ()),  # 50256, for which the model has no row
        (GPT2, {"eos_token_id": [7, 8]}, (7, 8)),
        (GPT2, {"temperature": 0.5}, ()),
        ({"model_type": "bert", "eos_token_id": 3}, None, ()),
    ],
)
def test_ends(config: dict[str, Any], words: dict[str, Any] | None, ends: tuple[int, ...], tmp_path: Path) -> None:
    if words is not None:
        settings(tmp_path, **words)
    assert ends_of(tmp_path, config, 100) == ends


def test_ids_of_generation_come_first(tmp_path: Path) -> None:
    both = with_generation(settings(tmp_path, decoder_start_token_id=4, eos_token_id=9, num_beams=6), {**GPT2, "x": 1})
    assert both == {"model_type": "gpt2", "eos_token_id": 9, "decoder_start_token_id": 4, "x": 1}
    assert not_taken(tmp_path) == ("num_beams = 6",)
    with pytest.raises(ModelError, match=r"generation_config.json: eos_token_id = '9': must be an id or several"):
        ends_of(settings(tmp_path, eos_token_id="9"), GPT2, 100)


def test_what_is_written() -> None:
    tree = generation_config(SpecialIds(), bos_id=1, ends=(3, 8), max_length=9)
    assert tree == {"bos_token_id": 1, "eos_token_id": [2, 3, 8], "pad_token_id": 0, "max_length": 9} | {
        "do_sample": False,
        "num_beams": 1,
        "suppress_tokens": [0, 1],
    }
    crossed = generation_config(SpecialIds(), bos_id=1, max_length=9, start_id=1)
    assert crossed["decoder_start_token_id"] == 1
    assert crossed["suppress_tokens"] == [0, 1, 3]


def test_what_we_write_is_taken_whole(tmp_path: Path) -> None:
    tree = generation_config(SpecialIds(), bos_id=1, max_length=9, start_id=1) | {"suppress_tokens": None}
    (name, content), *_ = generation_file(tree).items()
    (tmp_path / name).write_text(content)
    assert not_taken(tmp_path) == ()


@pytest.mark.long
def test_each_end_mark_ends_a_text_as_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy and by beam; with the marks in one file or the other, and again in the export."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setattr(Tokenizer, "characters", None)  # theirs writes halves of characters
    folder, prompts = write_gpt2(tmp_path / "theirs"), ["an apple", "He", "我"]
    tokenizer, words = AutoTokenizer.from_pretrained(folder), {"max_new_tokens": 24, "do_sample": False}

    def theirs(path: Path, beam: int) -> list[list[int]]:
        model, written = AutoModelForCausalLM.from_pretrained(path), []
        for prompt in prompts:
            ids = tokenizer(prompt, return_tensors="pt")
            written.append(model.generate(**ids, **words, num_beams=beam, pad_token_id=0)[0, ids.input_ids.shape[1] :])
        return [ids.tolist() for ids in written]

    settings(folder, eos_token_id=None, bos_token_id=0)
    free = theirs(folder, 1)
    ends = [0, *{ids[at] for ids, at in zip(free, (3, 9, 6), strict=True)}]
    settings(folder, eos_token_id=ends, bos_token_id=0, top_k=7)
    run, imported = import_run(folder, tmp_path / "run")
    assert imported.lines()[-1] == "not taken over from generation_config.json: top_k = 7"
    model = LanguageModel.load(run)
    greedy = model.generate(prompts, GenerationConfig(max_new=24), sampling=SamplingConfig(temperature=0.0))
    assert [text.ids for text in greedy] == theirs(folder, 1) == theirs(export_run(run, tmp_path / "back"), 1)
    assert {text.ids[-1] for text in greedy} - {0}, "another mark than the first ended one"
    assert all(text.reason == "end" and not {*ends} & {*text.ids[:-1]} for text in greedy)
    found = model.generate(prompts, GenerationConfig(max_new=24, beam=3))
    assert all(not {*ends} & {*text.ids[:-1]} for text in found)
    assert model.trace(prompts[0], GenerationConfig(max_new=24))[-1].chosen == greedy[0].ids[-1]
    late = model.generate(
        prompts, GenerationConfig(max_new=24, min_length=12), sampling=SamplingConfig(temperature=0.0)
    )
    assert all(len(text.ids) > 12 or text.reason == "length" for text in late)
