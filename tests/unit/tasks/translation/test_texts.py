"""What decodes a batch is one native call where the engine computes the model, and otherwise steps."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clearhead.data.corpus import read_parallel
from clearhead.data.store import prepare
from clearhead.decode.hypotheses import SearchConfig
from clearhead.engine.choose import EngineName
from clearhead.errors import DataError, UsageError
from clearhead.runs.cache import cache_folder
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search import searching
from clearhead.tasks.translation.search.lexicon import learned_from
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu")


@NATIVE
def test_the_engine_searches_with_phrases_too(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = [Translator.load(toy_run, device="cpu", engine=engine) for engine in ("torch", "native")]
    lines, wanted = ["他喝水。", "她们在学校。我妹妹不骑自行车。"], [["tea"], ["school", "bicycle"]]
    given: Any = {"require": wanted, "avoid": ["water"], "prefix": "she"}
    asked = [(SearchConfig(beam=3), {}), (SearchConfig(beam=4, n_best=3), given), (SearchConfig(), {"avoid": "he"})]
    by_steps, natively = ([each.n_best(lines, config, **own) for config, own in asked] for each in loaded)

    def read(found: Any) -> list[Any]:
        each = [[ranked] if isinstance(ranked, Translation) else ranked for texts in found for ranked in texts]
        return [[(one.target_ids, one.complete, one.cut_better, one.unmet) for one in ranked] for ranked in each]

    assert read(natively) == read(by_steps)
    monkeypatch.setattr(searching, "search_batch", lambda *_, **__: pytest.fail("by steps"))
    assert "tea" in loaded[1].translate(lines[0], require="tea").text


def shortened(translator: Translator, toy_data: Path, **sizes: int) -> Translator:
    """Returns the translator with a shortlist of the toy corpus."""
    recipe, both = translator.recipe, translator.tokenizers
    files = read_parallel(toy_data, stem="train", src="zh", tgt="en")
    store = prepare(files, src=both.src, tgt=both.tgt, config=recipe.data, cache_dir=cache_folder() / "data")
    return replace(translator, shortlist=learned_from(store, both, **sizes).shortlist)


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NATIVE)])
def test_a_shortlist_bounds_what_is_written(engine: EngineName, toy_run: Path, toy_data: Path) -> None:
    loaded = Translator.load(toy_run, device="cpu", engine=engine)
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:12]
    translator = shortened(loaded, toy_data, best=3, frequent=4)
    assert translator.shortlist is not None
    found = translator.translate(lines, beam=3)
    for line, translation in zip(lines, found, strict=True):
        own = translator.shortlist.choose([translator.tokenizers.src.encode(line)])[0]
        assert set(translation.target_ids) <= set(own.tolist())
        assert translator.translate(line, beam=3).target_ids == translation.target_ids
    assert [each.text for each in found] != [each.text for each in loaded.translate(lines, beam=3)]
    large = shortened(loaded, toy_data, best=1, frequent=translator.tokenizers.tgt.vocab_size)
    texts = [each.text for each in loaded.translate(lines, beam=3)]
    assert [each.text for each in large.translate(lines, beam=3)] == texts


@NATIVE
@pytest.mark.parametrize("options", [{}, {"beam": 1}, {"n_best": 3}, {"require": ["zebra"]}, {"avoid": ["the"]}])
def test_within_shortlists_both_engines_write_the_same(options: dict[str, Any], toy_run: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:12]
    texts = []
    for engine in ("native", "torch"):
        loaded = Translator.load(toy_run, device="cpu", engine=engine)
        found = shortened(loaded, toy_data, best=3, frequent=4).translate(lines, **options)
        texts.append([each.text if options.get("n_best") is None else [one.text for one in each] for each in found])
    assert texts[0] == texts[1]


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NATIVE)])
def test_prefix_and_required_phrases_are_outside_of_a_shortlist(
    engine: EngineName, toy_run: Path, toy_data: Path
) -> None:
    translator = shortened(Translator.load(toy_run, device="cpu", engine=engine), toy_data, best=1, frequent=0)
    strange = "zebra quiz"
    pieces = translator.tokenizers.tgt.encode(strange)
    assert translator.shortlist is not None
    assert not {*pieces} <= {*translator.shortlist.choose([translator.tokenizers.src.encode("我")])[0].tolist()}
    for beam in (1, 4):
        begun = translator.translate("我", prefix=strange, beam=beam)
        assert begun.text.startswith(strange)
        assert all(math.isfinite(number) for number in begun.log_probs)
    assert strange in translator.translate("我", require=[strange]).text


def in_training(toy_data: Path) -> tuple[list[str], dict[str, str]]:
    """Lines of the toy corpus, and a glossary with words that their translations would not have."""
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:8]
    return lines, {lines[0][:2]: "zebra|horse", lines[1][:2]: "quick*", "没有": "nothing"}


def meets(text: str, target: str) -> bool:
    words = re.findall(r"\w+", text.lower())
    forms = target.split("|")
    return any(w == form or (form[-1] == "*" and w.startswith(form[:-1])) for w in words for form in forms)


@pytest.mark.parametrize("engine", ["torch", pytest.param("native", marks=NATIVE)])
def test_a_glossary_is_carried_out_where_its_sources_are(engine: EngineName, toy_run: Path, toy_data: Path) -> None:
    translator = Translator.load(toy_run, device="cpu", engine=engine)
    lines, pairs = in_training(toy_data)
    plain, found = translator.translate(lines, beam=2), translator.translate(lines, beam=2, glossary=pairs)
    asked = 0
    for line, before, after in zip(lines, plain, found, strict=True):
        assert after.glossary == [(source, target) for source, target in pairs.items() if source in line]
        asked += len(after.glossary)
        assert before.glossary == before.unmet == after.unmet == []
        assert all(meets(after.text, target) for _, target in after.glossary), after.text
        if not after.glossary:
            assert after == before, "others are translated as without"
        alone = translator.translate(line, beam=2, glossary=pairs)
        assert (alone.text, alone.unmet) == (after.text, after.unmet), "alone as in company"
    assert asked > 1


def test_each_sentence_has_the_targets_of_its_own_sources(translator: Translator, toy_data: Path) -> None:
    lines, _ = in_training(toy_data)
    first, second = (line.rstrip("。") + "。" for line in lines[:2])
    word = first[:2]
    assert word not in second
    pairs = {word: "zebra"}
    for text, expected in [(first + second, [True, False]), (second + first, [False, True]), (first * 2, [True] * 2)]:
        found = translator.translate(text, beam=2, glossary=pairs)
        assert [meets(part.text, "zebra") for part in found.of_parts] == expected
        assert found.unmet == []
    # what no single part has is put where it costs least
    across = translator.translate(first + second, beam=2, glossary={first[-2:] + second[:1]: "zebra"})
    assert [meets(part.text, "zebra") for part in across.of_parts].count(True) == 1
    assert across.unmet == []


def test_a_target_that_cannot_be_is_unmet_and_loses_no_line(translator: Translator, toy_data: Path) -> None:
    lines, _ = in_training(toy_data)
    word, long = lines[0][:2], "zebra " * 70
    assert translator.translate(lines[0], glossary={word: long}).unmet == [long.strip()]
    found = translator.translate([*lines[:2], ""], glossary={word: "zebra|horse"}, avoid=["zebra"], n_best=2)
    assert all(meets(each.text, "horse") and not meets(each.text, "zebra") for each in found[0])
    assert [each.text for each in found[2]] == [""]
    shunned = translator.translate(lines[:2], glossary={word: "Zebra"}, avoid=["Zebra"])
    assert [each.unmet for each in shunned] == [["Zebra"], []]
    both = translator.translate(lines[0], glossary={word: "zebra"}, require=["horse"], prefix="I ")
    assert (meets(both.text, "zebra"), meets(both.text, "horse"), both.text[:2]) == (True, True, "I ")


def test_a_glossary_that_is_wrong_is_one_line(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "g.tsv").write_text("a b\n")
    for given, kind, rule in [
        ({"a": ""}, DataError, "glossary, entry 1: has an empty target"),
        (tmp_path / "g.tsv", DataError, "line 1: must be a source, a tab and a target"),
        (tmp_path / "none", DataError, "cannot be read"),
        (7, UsageError, "glossary = 7: must be"),
    ]:
        with pytest.raises(kind, match=rule):
            translator.translate("我", glossary=given)  # type: ignore[call-overload]
