"""``clearhead.load`` and ``clearhead.pipeline``: a run by its path, in the call shape of Hugging Face."""

from pathlib import Path

import pytest

import clearhead
from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.masked.model import MaskedModel
from clearhead.verbs.load import load
from clearhead.verbs.pipelines import pipeline


def test_a_pipeline_takes_one_text_or_several(toy_run: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:2]
    expected = [one.text for one in clearhead.load(str(toy_run)).translate(lines)]
    translate = clearhead.pipeline("translation", toy_run)
    assert translate(lines) == [{"translation_text": text} for text in expected]
    assert translate(lines[0]) == [{"translation_text": expected[0]}]
    assert translate([]) == []


def test_texts_are_continued_in_the_shape_of_hugging_face(toy_lm_run: Path) -> None:
    model = clearhead.LanguageModel.load(toy_lm_run)
    carry_on = clearhead.pipeline("text-generation", toy_lm_run)

    def texts(prompt: str, sampling: SamplingConfig, **settings: int) -> list[dict[str, str]]:
        found = model.generate([prompt], GenerationConfig(**settings), sampling=sampling)
        return [{"generated_text": prompt + one.text} for one in found]

    greedy, warm = SamplingConfig(0.0), SamplingConfig(2.0, 9, 0.8)
    assert carry_on("我", max_new_tokens=9, do_sample=False) == texts("我", greedy, max_new=9)
    settings = {"max_new_tokens": 9, "num_return_sequences": 2, "temperature": 2.0, "top_k": 9, "top_p": 0.8}
    assert carry_on(["我", "She"], **settings) == [texts(prompt, warm, max_new=9, n=2) for prompt in ("我", "She")]
    assert carry_on([]) == []


def test_gaps_are_filled_in_the_shape_of_hugging_face(toy_masked_run: Path) -> None:
    model = clearhead.load(toy_masked_run)
    assert isinstance(model, MaskedModel)
    fill, texts = clearhead.pipeline("fill-mask", toy_masked_run), ["He [MASK] an apple.", "[MASK] eats [MASK]."]
    first, second = fill(texts)
    (one, other) = model.fill(texts)
    for found, mask in zip([first, *second], [*one.masks, *other.masks], strict=True):
        assert [tree["score"] for tree in found] == pytest.approx([each.probability for each in mask])
        assert [tree["token"] for tree in found] == [each.id for each in mask]
        assert [tree["sequence"] for tree in found] == [each.text for each in mask]
        spelled = [model.tokenizer.spelling(each.id).decode("utf-8", "replace") for each in mask]
        assert [tree["token_str"] for tree in found] == spelled
    assert [len(fill(texts[0], top_k=2)), len(fill([texts[0]], top_k=2)[0])] == [2, 2]
    assert fill([]) == []


def test_what_there_is_none_for(toy_run: Path, tmp_path: Path) -> None:
    expected = "task = 'summarize': must be one of translation, text-generation, fill-mask, text-classification"
    with pytest.raises(UsageError, match=expected):
        pipeline("summarize", toy_run)
    with pytest.raises(ModelError, match="is not a run directory"):
        load(tmp_path)
    with pytest.raises(ModelError, match="is for the task translation, not language_model: use clearhead translate"):
        pipeline("text-generation", toy_run)


def test_texts_are_classified_in_the_shape_of_hugging_face(toy_classifier: Path, toy_pair_classifier: Path) -> None:
    model = clearhead.load(toy_classifier)
    assert isinstance(model, clearhead.Classifier)
    texts = ["a great film", "awful"]
    found = model.classify(texts)
    classify = clearhead.pipeline("text-classification", toy_classifier)
    best = [{"label": one.label, "score": pytest.approx(one.score)} for one in found]
    assert classify(texts) == best
    assert classify(texts[0]) == best[:1]
    assert classify([]) == []
    ranked = classify(texts, top_k=None)
    assert [one[0] for one in ranked] == best
    assert [[share["label"] for share in one] for one in ranked] == [["good", "bad"], ["bad", "good"]]
    both = [{"label": share["label"], "score": pytest.approx(share["score"])} for share in ranked[0]]
    assert classify(texts[0], top_k=2) == both
    pairs = clearhead.pipeline("text-classification", toy_pair_classifier)
    (one,) = clearhead.load(toy_pair_classifier).classify([("a film", "was it")])  # type: ignore[union-attr]
    assert pairs({"text": "a film", "text_pair": "was it"}) == [{"label": one.label, "score": pytest.approx(one.score)}]


def test_a_text_of_a_list_that_cannot_be_answered_costs_no_other(
    toy_run: Path, toy_classifier: Path, toy_masked_run: Path, toy_lm_run: Path
) -> None:
    translate = clearhead.pipeline("translation", toy_run)
    first, wrong = translate(["我", "\udc80"])
    assert first == translate("我")[0]
    assert (wrong["translation_text"], "lone surrogate" in wrong["error"]) == ("", True)
    classify = clearhead.pipeline("text-classification", toy_classifier)
    first, wrong = classify(["a great film", " "])
    assert [first] == classify("a great film")
    assert wrong == {"label": None, "error": "the text is empty"}
    fill = clearhead.pipeline("fill-mask", toy_masked_run)
    first, wrong = fill(["He [MASK] it.", "no"])
    assert [each["token"] for each in first] == [each["token"] for each in fill("He [MASK] it.")]
    assert ["has no [MASK]" in each["error"] for each in wrong] == [True]
    carry_on = clearhead.pipeline("text-generation", toy_lm_run)
    first, wrong = carry_on(["She", "\udc80"], max_new_tokens=2, num_return_sequences=2, do_sample=False)
    assert (len(first), wrong[0]["generated_text"], "lone surrogate" in wrong[0]["error"]) == (2, "", True)
    for call, text in ((translate, "\udc80"), (classify, " "), (fill, "no"), (carry_on, "\udc80")):
        with pytest.raises(DataError):
            call(text)
