"""Every lesson: its claims hold over several seeds, its words are the same in both languages, its code runs."""

import ast
import re
import string
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.lessons.catalog import LESSONS
from clearhead.lessons.lesson import SEEDS, Lesson
from tests.lessons import measured, short

ROOT = Path(__file__).resolve().parents[3] / "src" / "clearhead"
THERE = [name for name in LESSONS if (ROOT / "lessons" / f"{name.replace('-', '_')}.py").is_file()]
MOST_LINES = 150
OUTSIDE = set("torch math dataclasses collections pathlib typing itertools functools random statistics".split())


def path_of(name: str) -> Path:
    return ROOT / "lessons" / f"{name.replace('-', '_')}.py"


def run_for(name: str, request: pytest.FixtureRequest) -> Path | None:
    """Returns one of the suite's runs, for a lesson that looks into one."""
    lesson = Lesson(name)
    if not lesson.needs_run:
        return None
    fixtures = {"translation": "toy_run", "language_model": "toy_lm_run", "masked": "toy_masked_run"}
    run: Path = request.getfixturevalue(fixtures[lesson.tasks[0]])
    return run


@pytest.mark.unchecked
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", THERE)
def test_every_sentence_of_the_answer_holds(name: str, seed: int, request: pytest.FixtureRequest) -> None:
    lesson = Lesson(name)
    claims = lesson.check(measured(name, seed, run_for(name, request)))
    assert {key for key, holds in claims.items() if not holds} == set()
    assert len(claims) >= 2


@pytest.mark.parametrize("name", THERE)
def test_words_are_there_in_both_languages(name: str, request: pytest.FixtureRequest) -> None:
    lesson = Lesson(name)
    found = measured(name, 0, run_for(name, request))
    facts, claims = lesson.facts(found), lesson.check(found)
    assert {"asked", "code", "command", "en", "zh"} == set(lesson.text)
    english, chinese = lesson.words("en"), lesson.words("zh")
    assert list(english) == list(chinese) == ["title", "question", "guess", "practice", "answer", "labels"]
    assert "guess" in facts
    used: set[str] = set()
    for words in (english, chinese):
        assert list(words["answer"]) == list(claims)
        for sentence in words["answer"].values():
            slots = {slot for _, slot, _, _ in string.Formatter().parse(sentence) if slot}
            assert slots <= set(facts), sentence
            used |= slots
    assert set(facts) - used <= {"guess"}, "facts that no sentence names"
    assert list(english["labels"]) == list(chinese["labels"])
    assert all(re.search("[\u4e00-\u9fff]", chinese[key]) for key in ("title", "question", "guess", "practice"))
    asked: set[str] = set()

    def say(key: str) -> str:
        asked.add(key)
        return str(english["labels"][key])

    assert lesson.module.show(found, say)
    assert asked == set(english["labels"]), "labels that are not shown, or not written"


@pytest.mark.parametrize("name", THERE)
def test_a_lesson_reads_like_a_page(name: str) -> None:
    source = path_of(name).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MOST_LINES
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in getattr(node, "names", [])] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [str(node.module)]
            private = [alias.name for alias in node.names if alias.name.startswith("_")]
            assert private == [], "only public names"
        for module in names:
            assert module.split(".")[0] in OUTSIDE | {"clearhead"}, module


@pytest.mark.parametrize("name", THERE)
def test_knobs_have_limits(name: str) -> None:
    lesson = Lesson(name)
    defaults = {knob: value if isinstance(value, tuple) else (value,) for knob, value in lesson.knobs().items()}
    assert all(type(value) in (int, float) for values in defaults.values() for value in values)
    for knob, values in defaults.items():
        low, high = SEEDS if knob == "seed" else lesson.module.LIMITS[knob]
        assert low <= min(values) <= max(values) <= high
        for value in (low - 1, high + 1):
            with pytest.raises(UsageError, match=f"^lesson {name!r}: {knob} = '{value}': must be a"):
                lesson.settings([f"{knob}={value}"])
    assert set(short(name)) <= set(lesson.knobs())


@pytest.mark.parametrize("name", THERE)
def test_code_can_be_pasted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    scope: dict[str, Any] = {}
    exec(compile(Lesson(name).text["code"], f"code of {name}", "exec"), scope)
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", THERE)
def test_what_was_measured_is_plain(name: str, request: pytest.FixtureRequest) -> None:
    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(each) for key, each in value.items())
        return (
            all(map(plain, value)) if isinstance(value, list | tuple) else isinstance(value, str | int | float | None)
        )

    assert plain(asdict(measured(name, 0, run_for(name, request))))


def test_an_unknown_lesson_or_knob_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^lesson 'scal': unknown; did you mean 'scale'\?"):
        Lesson("scal")
    with pytest.raises(UsageError, match=r"^--set 'heads=2': lesson 'scale' has the knobs d_k, keys, steps, seed"):
        Lesson("scale").settings(["heads=2"])
    assert Lesson("scale").settings(["d_k=4,8", "seed=3"]) == {"d_k": (4, 8), "seed": 3}
    assert Lesson("scale").checked({"d_k": (4, 8), "seed": 3}) == {"d_k": (4, 8), "seed": 3}


def test_a_run_of_another_family_is_refused(toy_lm_run: Path) -> None:
    name = next((name for name in THERE if Lesson(name).needs_run and "language_model" not in Lesson(name).tasks), None)
    if name is None:
        pytest.skip("no lesson that looks into translators alone")
    with pytest.raises(ModelError, match=f"^lesson {name!r}: run .* is for the task language_model, it can use"):
        Lesson(name).measure(trained=toy_lm_run)
    with pytest.raises(UsageError, match=f"^lesson {name!r} looks into a trained run: give one"):
        Lesson(name).measure()
