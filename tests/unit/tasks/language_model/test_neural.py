"""A language model's promises: texts that no batch mate changes, its own probabilities, limits, what goes together."""

import copy
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.decode.sampling import SamplingConfig
from clearhead.engine import choose as engine
from clearhead.engine.copies.packed import pack
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.language_model import stepped
from clearhead.tasks.language_model import writer as module
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

PROMPTS = ["我", "", "他们在学校", "She ", "我昨天没买书。 I didn't buy any books yesterday. 你", "我"]
GREEDY, WARM = SamplingConfig(temperature=0.0), SamplingConfig(temperature=0.9, top_p=0.9, seed=3)
EOS = 2


@pytest.fixture(scope="module")
def model(toy_lm_run: Path) -> LanguageModel:
    return LanguageModel.load(toy_lm_run)


def config(**settings: Any) -> GenerationConfig:
    return GenerationConfig(**{"max_new": 40, **settings})


def test_it_has_learned_its_text(model: LanguageModel) -> None:
    """Otherwise what these tests compare would be noise."""
    (found,) = model.generate([""], config(max_new=80), sampling=GREEDY)
    assert found.reason == "end"
    assert math.fsum(found.log_probs) / len(found.log_probs) > -0.3
    assert model.step == 150


@pytest.mark.long
@pytest.mark.parametrize("settings", [{"n": 2}, {"beam": 3, "n": 2}], ids=str)
def test_a_prompt_gives_the_same_whatever_stands_beside_it(
    settings: dict[str, Any], model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of 48 pieces slide meanwhile."""
    sampling = SamplingConfig() if "beam" in settings else WARM
    together = model.generate(PROMPTS, config(max_new=70, **settings), sampling=sampling)
    assert [one.prompt for one in together] == [prompt for prompt in PROMPTS for _ in range(2)]
    assert together[:2] == together[-2:]
    assert together[0].ids != together[1].ids
    monkeypatch.setattr(module, "BATCH_TOKENS", 1)  # every text in a batch of its own
    alone = [
        one for prompt in PROMPTS for one in model.generate([prompt], config(max_new=70, **settings), sampling=sampling)
    ]
    for one, other in zip(together, alone, strict=True):
        assert (one.ids, one.text) == (other.ids, other.text)
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert model.generate([]) == []
    first = model.generate(PROMPTS[:1], config(max_new=70, **{**settings, "n": 1}), sampling=sampling)
    assert first[0].ids == together[0].ids, "how many there are does not change the first"


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("beam", [0, 3])
def test_batches_are_bounded(beam: int, model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def record(gpt: Any, prompts: list[list[int]], *others: Any, **settings: Any) -> Any:
        seen.append(sum(min(len(ids) + 40, 48) for ids in prompts) * max(beam, 1))
        return original(gpt, prompts, *others, **settings)

    home, by_beam = (stepped, "PromptedDecoding") if model._native is None else (module, "native_text_search")
    name = by_beam if beam else "generate"
    original = getattr(home, name)
    monkeypatch.setattr(home, name, record)
    monkeypatch.setattr(module, "BATCH_TOKENS", 300)
    model.generate(PROMPTS * 2, config(max_new=40, beam=beam), sampling=SamplingConfig())
    assert max(seen) <= 300
    assert len(seen) == (6 if beam else 2)


def test_rows_of_short_texts_are_bounded_too(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their logits are what takes memory."""
    seen: list[int] = []

    def generate(gpt: Any, prompts: list[list[int]], *others: Any, **settings: Any) -> Any:
        seen.append(len(prompts))
        return original(gpt, prompts, *others, **settings)

    home = stepped if model._native is None else module
    original = home.generate
    monkeypatch.setattr(home, "generate", generate)
    model.generate([""], config(max_new=1, n=100))
    assert seen == [64, 36]


def test_weights_are_packed_by_the_first_text(toy_lm_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only scores has one copy of them; a wrong wish is refused at once all the same."""
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    packed: list[type] = []

    def record(gpt: Any, linear: Any) -> Any:
        packed.append(linear)
        return pack(gpt, linear)

    monkeypatch.setattr(engine, "pack", record)
    for weights, (linear, _) in engine.KINDS.items():
        loaded = LanguageModel.load(toy_lm_run, device="cpu", weights=weights)
        loaded.log_probs("我")
        assert packed == []
        for _ in range(2):
            loaded.generate(["我"], config(max_new=2))
        assert (packed, loaded.writer is loaded.model) == ([linear], False)
        packed.clear()
    monkeypatch.setattr(engine, "fault_of", lambda linear, *, tolerance: "nothing works")
    plain = LanguageModel.load(toy_lm_run, device="cpu")
    assert plain.writer is plain.model
    with pytest.raises(
        UsageError, match=r"^weights = 'int8': the PyTorch installed here cannot compute with such \(not"
    ):
        LanguageModel.load(toy_lm_run, device="cpu", weights="int8")


@NATIVE
def test_weights_that_the_engine_packs_stay_in_their_file(toy_lm_run: Path) -> None:
    """Those that somebody has changed are packed as they are now, and stay as they are now."""
    loaded, other = (LanguageModel.load(toy_lm_run, device="cpu", engine=name) for name in ("native", "torch"))
    expected = other.generate(PROMPTS, config(max_new=9))
    assert [one.ids for one in loaded.generate(PROMPTS, config(max_new=9))] == [one.ids for one in expected]
    assert loaded.log_probs(PROMPTS[0]) == other.log_probs(PROMPTS[0])
    changed = LanguageModel.load(toy_lm_run, device="cpu", engine="native")
    best = expected[0].ids[0]
    changed.model.lm_head.weight.data[best] = 0.0
    assert changed.generate(PROMPTS, config(max_new=9))[0].ids[0] != best
    assert not changed.model.lm_head.weight[best].any()


def test_special_pieces_never_come(model: LanguageModel) -> None:
    plain = replace(model, weights=None, model=copy.deepcopy(model.model))
    head = plain.model.lm_head.weight.data
    head[[0, 1, 3]] = 3 * head[model.tokenizer.encode("妹")[0]]
    for beam in (0, 2):
        (found,) = plain.generate([PROMPTS[0]], config(beam=beam), sampling=SamplingConfig())
        assert not {0, 1, 3} & set(found.ids)


def test_seeds_make_texts(model: LanguageModel) -> None:
    texts = [
        model.generate(["我"], config(max_new=12, min_length=12), sampling=SamplingConfig(2.0, seed=seed))[0].ids
        for seed in (1, 2, 1)
    ]
    assert texts[0] == texts[2] != texts[1]


@pytest.mark.parametrize("settings", [{}, {"beam": 3}], ids=str)
def test_log_probs_are_those_of_the_model_with_all_pieces_given(settings: dict[str, Any], model: LanguageModel) -> None:
    sampling = SamplingConfig() if settings else SamplingConfig(1.5, repetition_penalty=1.3, seed=2)
    for one in model.generate(PROMPTS[:3], config(max_new=25, **settings), sampling=sampling):
        start = [EOS, *model.tokenizer.encode(one.prompt)]
        with torch.inference_mode():
            logits = model.model(torch.tensor([[*start, *one.ids[:-1]]]))[0, len(start) - 1 :]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(one.ids)[:, None])[:, 0].tolist()
        assert one.log_probs == pytest.approx(expected, abs=1e-4)
        assert one.pieces == model.tokenizer.pieces(one.ids)
        assert one.text == model.tokenizer.decode(one.ids).removesuffix("\ufffd" if one.reason == "length" else "")
        assert (one.reason == "end") is (one.ids[-1] == EOS)


@pytest.mark.long
def test_packed_and_plain_weights_say_the_same(model: LanguageModel) -> None:
    plain = replace(model, weights=None)
    for sampling in (GREEDY, WARM):
        found = [[one.ids for one in each.generate(PROMPTS, config(), sampling=sampling)] for each in (model, plain)]
        assert found[0] == found[1]


def test_parts_come_while_the_text_is_written(model: LanguageModel) -> None:
    parts: dict[int, list[str]] = {}
    settings: dict[str, Any] = {
        "sampling": WARM,
        "on_text": lambda number, part: parts.setdefault(number, []).append(part),
    }
    found = model.generate(PROMPTS, config(n=2), **settings)
    assert {number: "".join(own) for number, own in parts.items()} == {
        number: one.text for number, one in enumerate(found) if one.text
    }
    assert len(parts[0]) > 3


def test_how_a_text_ends(model: LanguageModel) -> None:
    (free,) = model.generate(["我"], config(max_new=60), sampling=GREEDY)
    assert free.reason == "end"
    (stopped,) = model.generate(["我"], config(max_new=60, stop=("。", "☃")), sampling=GREEDY)
    assert (stopped.reason, stopped.text) == ("stop", free.text.split("。")[0])
    (never,) = model.generate(["我"], config(max_new=5, stop=("☃",)), sampling=GREEDY)
    # the last piece may be another one: no character begins that the limit would leave unfinished
    assert (never.reason, len(never.ids), never.ids[:4]) == ("length", 5, free.ids[:4])
    assert "\ufffd" not in never.text
    (longer,) = model.generate(["我"], config(max_new=60, min_length=50), sampling=GREEDY)
    assert len(longer.ids) >= 50 > len(free.ids)


@pytest.mark.parametrize("beam", [0, 4])
def test_bad_words_never_come(beam: int, model: LanguageModel) -> None:
    """Not in other pieces either: where the usual ones may not come, others would."""
    sampling = SamplingConfig(seed=4) if beam == 0 else SamplingConfig()
    settings = {"max_new": 40, "beam": beam, "n": 4}
    prompt = "我妹妹不骑自行车。"
    free, bound = (
        [one.text for one in model.generate([prompt], config(**settings, bad_words=words), sampling=sampling)]
        for words in ((), ("My", "sister", "自行车"))
    )
    assert any("My" in text for text in free)
    for text in bound:
        assert not {"My", "sister"} & set(text.replace(".", " ").split())
        assert "自行车" not in text
    with pytest.raises(UsageError, match="a phrase must not be empty"):
        model.generate(["x"], config(bad_words=("",)))


@pytest.mark.long
def test_a_draft_changes_no_greedy_text(
    model: LanguageModel, toy_lm_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, ahead = stepped.speculate, set()

    def speculate(*given: Any, drafted: int, **settings: Any) -> Any:
        ahead.add(drafted)
        return original(*given, drafted=drafted, **settings)

    monkeypatch.setattr(stepped, "speculate", speculate)
    draft = LanguageModel.load(toy_lm_run, checkpoint="step-00000050")
    assert draft.step == 50
    expected = model.generate(PROMPTS[:4], config(max_new=60), sampling=GREEDY)
    found = model.generate(PROMPTS[:4], config(max_new=60, draft_pieces=3), sampling=GREEDY, draft=draft)
    assert [(one.ids, one.text) for one in found] == [(one.ids, one.text) for one in expected]
    shares = [one.accepted for one in found]
    assert all(share is not None and 0 <= share <= 1 for share in shares)
    assert len(set(shares)) > 1
    assert ahead == {3}
    assert [one.accepted for one in expected] == [None] * len(expected)
    settings: dict[str, Any] = {"sampling": SamplingConfig(3.0, seed=1), "draft": draft}
    texts = model.generate(["我"], config(max_new=9, n=3), **settings)
    assert len({one.text for one in texts}) == 3
    assert model.generate(["我"], config(max_new=9, n=3), **settings) == texts


@pytest.mark.long
def test_a_beam_finds_texts_at_least_as_probable_as_the_greedy_one(model: LanguageModel) -> None:
    for prompt in PROMPTS[:3]:
        (greedy,) = model.generate([prompt], config(max_new=60), sampling=GREEDY)
        ranked = model.generate([prompt], config(max_new=60, beam=4, n=3))
        assert len({tuple(one.ids) for one in ranked}) == len(ranked) == 3
        means = [math.fsum(one.log_probs) / (5 + len(one.ids)) for one in ranked]
        assert means == sorted(means, reverse=True)
        assert means[0] >= math.fsum(greedy.log_probs) / (5 + len(greedy.ids)) - 1e-6


def test_what_does_not_go_together(model: LanguageModel, toy_run: Path, toy_lm_run: Path) -> None:
    with pytest.raises(UsageError, match=r"^beam = 2: looks for the most probable texts, so it goes with no draft"):
        model.generate(["x"], config(beam=2), draft=model)
    with pytest.raises(UsageError, match="beam = 2"):
        model.generate(["x"], config(beam=2, stop=(".",)))
    with pytest.raises(UsageError, match="beam = 2"):
        model.generate(["x"], config(beam=2), sampling=GREEDY)
    model.generate(["x"], config(beam=2, max_new=2), sampling=SamplingConfig(no_repeat_ngram=2, seed=1))
    other = Translator.load(toy_run).tokenizers.tgt
    with pytest.raises(ModelError, match=r"^draft: has another tokenizer than the model"):
        model.generate(["x"], draft=replace(model, tokenizer=other))
    with pytest.raises(UsageError, match=r"^sampling: temperature = -1.0: input should be greater than or equal to 0"):
        model.generate(["x"], sampling=SamplingConfig(temperature=-1.0))
    with pytest.raises(UsageError, match=r"^generation: max_new = 0"):
        model.generate(["x"], config(max_new=0))
    with pytest.raises(
        DataError, match=r"^text 1: prompt .* has 1 pieces, with max_new = 48 too many for the context of 48"
    ):
        model.generate(["我"], config(max_new=48, overlong="error"))
    with pytest.raises(ModelError, match=r"is for the task translation, not language_model: use clearhead translate$"):
        LanguageModel.load(toy_run)
    with pytest.raises(ModelError, match=r"is for the task language_model, not translation: use clearhead generate$"):
        Translator.load(toy_lm_run)


def test_a_long_prompt_is_counted(model: LanguageModel) -> None:
    long = " ".join(PROMPTS) * 3
    count = len(model.tokenizer.encode(long))
    (window,) = model.generate([long], config(max_new=3))
    (cut,) = model.generate([long], config(max_new=3, overlong="truncate-left"))
    assert window.dropped == count - 48
    assert 0 <= cut.dropped - (count - 45) <= 3, "what is left begins with a whole character"


@pytest.mark.parametrize("length", [0, 1, 30, 48, 49, 130])
def test_a_text_has_the_probability_of_its_pieces(length: int, model: LanguageModel) -> None:
    """By the definition: each piece in a window of its own, which begins where it says."""
    text = model.tokenizer.decode((model.tokenizer.encode(" ".join(PROMPTS)) * 4)[:length])
    ids = [EOS, *model.tokenizer.encode(text)]
    found = model.log_probs(text)
    assert len(found) == len(ids) - 1
    for at, value in enumerate(found):
        begin = 0 if at < 48 else (at - 48) // 24 * 24 + 24
        with torch.inference_mode():
            logits = model.model(torch.tensor([ids[begin : at + 1]]))[0, -1]
        assert value == pytest.approx(float(logits.log_softmax(-1)[ids[at + 1]]), abs=1e-4), at
    with pytest.raises(DataError, match="lone surrogate"):
        model.log_probs("\udcff")


def test_logits_that_are_no_numbers_are_one_clear_line(model: LanguageModel, toy_lm_run: Path) -> None:
    broken = LanguageModel.load(toy_lm_run)
    broken.model.lm_head.weight.data[7] = float("nan")
    with pytest.raises(ModelError, match=r"^row 0, position 1: the best logit is nan, so no piece can be chosen$"):
        replace(broken, weights=None).generate(["我"])


def test_a_prompt_begins_a_document_where_the_run_saw_any_begin(
    model: LanguageModel, tmp_path: Path, toy_lm_run: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_lm_run, run)
    assert model.marks is LanguageModel.load(run).marks is True
    report = json.loads((run / "data-report.json").read_text(encoding="utf-8"))
    report["train"]["end_marks"] = 0
    (run / "data-report.json").write_text(json.dumps(report), encoding="utf-8")
    assert LanguageModel.load(run).marks is False
    (run / "data-report.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"data-report.json' cannot be read: "):
        LanguageModel.load(run)
    (run / "data-report.json").unlink()
    assert LanguageModel.load(run).marks is False
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(ModelError, match="has no checkpoint yet: train it, or go on with --resume"):
        LanguageModel.load(run)
