"""Cards of exported folders: front matter that Hugging Face reads, code for every format and kind, no paths."""

from typing import get_args

import pytest

from clearhead.export.card import ArtefactFacts, Score, Tag, artefact_card, loading_code


def front(card: str) -> dict[str, object]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: it reads front matter")
    return dict(yaml.safe_load(card.split("---")[1]))


def test_the_front_matter_is_that_of_a_model_card() -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: it reads model cards")
    facts = ArtefactFacts(
        "toy",
        "ctranslate2",
        "translation",
        "A translator: small",
        "int8",
        ("zh", "en"),
        64,
        notes=["Mind this."],
        score=Score("BLEU", 31.23456, "v:2.5|tok:13a"),
    )
    card = hub.ModelCard(artefact_card(facts))
    assert card.data.language == ["zh", "en"]
    assert (card.data.library_name, card.data.pipeline_tag) == ("ctranslate2", "translation")
    assert card.data.tags == ["clearhead", "ctranslate2"]
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.metric_config) == ("sacrebleu", 31.2346, "v:2.5|tok:13a")
    assert "weights as int8" in card.text
    assert "\n- Mind this.\n" in card.text
    assert "BLEU 31.23." in card.text


def test_what_is_not_known_is_left_out() -> None:
    card = artefact_card(ArtefactFacts("toy", "hf", "fill-mask", "A masked language model"))
    assert front(card) == {"library_name": "transformers", "pipeline_tag": "fill-mask", "tags": ["clearhead"]}
    assert "On the valid split" not in card


@pytest.mark.parametrize("target", ["hf", "onnx", "ctranslate2", "gguf"])
@pytest.mark.parametrize("tag", get_args(Tag))
def test_there_is_code_for_each_kind(target: str, tag: Tag) -> None:
    code = loading_code(ArtefactFacts("toy", target, tag, "A model", length=64, begin="</s>"))
    if (target, tag) in (("gguf", "translation"), ("onnx", "feature-extraction")):
        assert code == "", "there is none"
        return
    assert not any(word in code for word in ("TEXT", "NAME", "LENGTH", "BEGIN", "SOURCE", "TARGET", "MORE"))
    assert ("AutoModel" in code) == (target == "hf" and tag in ("translation", "text-generation"))
    if target == "gguf":
        assert "-m toy.gguf" in code
    else:
        compile(code, "card", "exec")
