"""What all language models promise alike: texts that no batch mate changes, limits, phrases, drafts, probabilities."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.language_model import writer as module
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.writer import TextModel, has_marks
from clearhead.verbs.load import load_language_model
from tests.native import NATIVE

KINDS = ("language_model", "rnn_language_model", "ngram")
BASELINES = KINDS[1:]
CACHES = ("float32", "int8")
PROMPTS = ["我", "", "他们在学校", "She ", "我昨天没买书。 I didn't buy any books yesterday. 你", "我"]
GREEDY, WARM = SamplingConfig(temperature=0.0), SamplingConfig(temperature=0.9, top_p=0.9, seed=3)
EOS = 2


@pytest.fixture(scope="module")
def models(toy_lm_run: Path, toy_baselines: dict[str, Path]) -> dict[str, TextModel]:
    runs = {"language_model": toy_lm_run, **toy_baselines}
    return {kind: load_language_model(runs[kind], device="cpu") for kind in KINDS}


def config(**settings: Any) -> GenerationConfig:
    return GenerationConfig(**{"max_new": 40, **settings})


@pytest.mark.parametrize("kind", BASELINES)
def test_they_have_learned_their_text(kind: str, models: dict[str, TextModel]) -> None:
    """Otherwise what these tests compare would be noise."""
    (found,) = models[kind].generate([""], config(max_new=80), sampling=GREEDY)
    assert math.fsum(found.log_probs) / len(found.log_probs) > -1.0
    assert models[kind].context is None


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("settings", [{"n": 2}, {"beam": 3, "n": 2}], ids=str)
@pytest.mark.parametrize("kind", BASELINES)
def test_a_prompt_gives_the_same_whatever_stands_beside_it(
    kind: str, settings: dict[str, Any], models: dict[str, TextModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, sampling = models[kind], SamplingConfig() if "beam" in settings else WARM
    together = model.generate(PROMPTS, config(**settings), sampling=sampling)
    assert [one.prompt for one in together] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert together[:2] == together[-2:]
    assert len({tuple(one.ids) for one in together}) > 6
    monkeypatch.setattr(module, "BATCH_TOKENS", 1)  # every text in a batch of its own
    alone = [one for prompt in PROMPTS for one in model.generate([prompt], config(**settings), sampling=sampling)]
    for one, other in zip(together, alone, strict=True):
        assert (one.ids, one.text) == (other.ids, other.text)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("kind", BASELINES)
def test_limits_phrases_and_stop_strings(kind: str, models: dict[str, TextModel]) -> None:
    model, parts = models[kind], list[str]()
    (free,) = model.generate(["我"], config(), sampling=GREEDY, on_text=lambda _, part: parts.append(part))
    assert "".join(parts) == free.text
    assert len(parts) > 3
    (longer,) = model.generate(["我"], config(max_new=60, min_length=50), sampling=GREEDY)
    assert len(longer.ids) >= 50 > len(free.ids)
    stop = free.text[4:6]
    (stopped,) = model.generate(["我"], config(stop=(stop,)), sampling=GREEDY)
    assert (stopped.text, stopped.reason) == (free.text[: free.text.index(stop)], "stop")
    word = max(free.text.replace(".", " ").split(), key=len)
    for beam in (0, 2):
        sampling = SamplingConfig() if beam else GREEDY
        (bound,) = model.generate(["我"], config(bad_words=(word,), beam=beam), sampling=sampling)
        assert word not in bound.text
        assert not {0, 1, 3} & set(bound.ids)
    for seed in (1, 2):
        warm = {"sampling": SamplingConfig(2.0, seed=seed)}
        one, other = (model.generate(["我"], config(max_new=12, min_length=12), **warm)[0].ids for _ in range(2))
        assert one == other
    assert one != model.generate(["我"], config(max_new=12, min_length=12), sampling=SamplingConfig(2.0, seed=1))[0].ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_bias_moves_what_is_written(kind: str, models: dict[str, TextModel]) -> None:
    model = models[kind]
    piece = model.tokenizer.encode("She")[0]
    always = SamplingConfig(1.5, seed=2, bias=((piece, 100.0),))
    (found,) = model.generate(["我"], config(max_new=5), sampling=always)
    assert found.ids == [piece] * 5
    assert found.log_probs[0] < -0.1, "they are the model's own"
    size = model.tokenizer.vocab_size
    with pytest.raises(UsageError, match=f"bias: piece {size} must be from 0 to {size - 1}"):
        model.generate(["我"], config(), sampling=SamplingConfig(bias=((size, 1.0),)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_text_was_drawn_with_is_its_probability(kind: str, models: dict[str, TextModel]) -> None:
    """Drawn cooler and penalized: those numbers are still the model's own."""
    model, checked = models[kind], 0
    settings = {"sampling": SamplingConfig(0.9, repetition_penalty=1.1, seed=4)}
    for one in model.generate([""], config(max_new=30, n=8), **settings):
        ids = one.ids[:-1] if one.reason == "end" else one.ids
        if model.tokenizer.encode(one.text) == ids:
            checked += 1
            assert one.log_probs[: len(ids)] == pytest.approx(model.log_probs(one.text), abs=1e-4)
    assert checked > 2
    assert model.log_probs("") == []


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("kind", BASELINES)
def test_no_prompt_is_too_long(kind: str, models: dict[str, TextModel]) -> None:
    """Several times the longest call of the recurrent model; what stands first may still be seen."""
    model, long = models[kind], " ".join(PROMPTS) * 4
    assert len(model.tokenizer.encode(long)) > 100
    found = [model.generate([long], config(overlong=each), sampling=WARM)[0] for each in ("window", "error")]
    found += model.generate([long], config(overlong="truncate-left"), sampling=WARM)
    assert found[0] == found[1] == found[2]
    assert found[0].dropped == 0
    if kind == "rnn_language_model":
        (other,) = model.generate(["She" + long], config(), sampling=WARM)
        assert other.log_probs != found[0].log_probs
    ids = [EOS, *model.tokenizer.encode(long), *found[0].ids]
    count = len(found[0].ids)
    assert model.log_probs(long) == pytest.approx(told(model, ids[:-count]), abs=1e-4)
    assert found[0].log_probs == pytest.approx(told(model, ids)[-count:], abs=1e-4)


def told(model: Any, ids: list[int]) -> list[float]:
    """Log-probability of each of ``ids`` but the first, which begins a document, read piece by piece."""
    if not isinstance(model, LanguageModel):
        rows = [model.model.next_probs(ids[:at]) for at in range(1, len(ids))]
        return [math.log(row[piece]) for row, piece in zip(rows, ids[1:], strict=True)]
    state, found = model.model.new_cache(1), []
    with torch.inference_mode():
        for piece, following in pairwise(ids):
            logits = model.model(torch.tensor([[piece]]), cache=state)[0, 0]
            found.append(float(logits.log_softmax(0)[following]))
    return found


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_draft_of_any_kind_changes_no_greedy_text(kind: str, models: dict[str, TextModel]) -> None:
    expected = models[kind].generate(PROMPTS[:4], config(max_new=60), sampling=GREEDY)
    for name, draft in models.items():
        found = models[kind].generate(PROMPTS[:4], config(max_new=60), sampling=GREEDY, draft=draft)
        assert [(one.ids, one.text) for one in found] == [(one.ids, one.text) for one in expected]
        shares = [one.accepted or 0.0 for one in found]
        assert (0 < sum(shares) < 4) or (name == kind and shares == [1.0] * 4)


def test_weights_of_8_bits_are_for_a_gpt(toy_baselines: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match=r"^weights = 'int8': generation with such is for a GPT in float32 on a CPU$"):
        load_language_model(toy_baselines["rnn_language_model"], device="cpu", weights="int8")
    with pytest.raises(UsageError, match=r"^engine = 'native': an n-gram model has counts and no weights$"):
        load_language_model(toy_baselines["ngram"], engine="native")
    with pytest.raises(UsageError, match=r"^weights = 'int8': an n-gram model has counts and no weights$"):
        load_language_model(toy_baselines["ngram"], weights="int8")


def test_whether_a_run_has_seen_documents_begin(tmp_path: Path) -> None:
    assert has_marks(tmp_path) is False
    for count in (0, 7):
        (tmp_path / "data-report.json").write_text(json.dumps({"train": {"end_marks": count}}), encoding="utf-8")
        assert has_marks(tmp_path) is bool(count)
    (tmp_path / "data-report.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match=r"data-report.json' cannot be read: "):
        has_marks(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_whole(kind: str, models: dict[str, TextModel]) -> None:
    """Hot texts of bytes, cut by the limit; what streams is what is returned, and a search gives different texts."""
    model, parts = models[kind], dict[int, str]()
    hot = SamplingConfig(temperature=3.0, seed=2)
    found = model.generate(
        ["我", "她"],
        config(max_new=9, n=6),
        sampling=hot,
        on_text=lambda row, part: parts.update({row: parts.get(row, "") + part}),
    )
    assert model.tokenizer.characters is not None
    assert [one.text for one in found if "\ufffd" in model.tokenizer.decode(one.ids)] == []
    assert [one.text for one in found] == [parts.get(row, "") for row in range(12)]
    assert all(one.text == model.tokenizer.decode(one.ids) for one in found), "no piece is left out of the text"
    searched = model.generate(["我"], config(max_new=9, beam=4, n=4))
    assert len({one.text for one in searched}) == 4
    assert [one.text for one in searched if "\ufffd" in one.text] == []
    traced = model.trace("我", config(max_new=9))
    (greedy,) = model.generate(["我"], config(max_new=9), sampling=GREEDY)
    assert [step.chosen for step in traced] == greedy.ids


@NATIVE
@pytest.mark.parametrize("beam", [0, 3])
def test_keys_and_values_of_8_bits_write_nearly_the_same(beam: int, models: dict[str, TextModel]) -> None:
    model = models["language_model"]
    sampling = SamplingConfig() if beam else GREEDY
    plain, small = (model.generate(PROMPTS, config(beam=beam, cache=kind), sampling=sampling) for kind in CACHES)
    pairs = list(zip(plain, small, strict=True))
    assert [one.log_probs for one in plain] != [one.log_probs for one in small]
    same = [(one, other) for one, other in pairs if one.ids == other.ids]
    assert len(same) >= len(pairs) - 1
    for one, other in same:
        assert one.log_probs == pytest.approx(other.log_probs, abs=0.1)
    again = model.generate(PROMPTS[:1], config(beam=beam, cache="int8"), sampling=sampling)
    assert again == small[:1]


@NATIVE
def test_keys_and_values_of_8_bits_are_the_native_engines(toy_lm_run: Path, models: dict[str, TextModel]) -> None:
    for model in (models["ngram"], models["rnn_language_model"], load_language_model(toy_lm_run, engine="torch")):
        with pytest.raises(UsageError, match="cache = 'int8': the native engine alone has such, and it does not comp"):
            model.generate("她", config(cache="int8"))
    with pytest.raises(UsageError, match="cache = 'int8': goes with no draft"):
        models["language_model"].generate("她", config(cache="int8"), draft=models["ngram"])
