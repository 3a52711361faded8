"""A page for each lesson, with what it has just measured."""

import dataclasses
import hashlib
import html
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import clearhead
from clearhead.drawing.report import Part
from clearhead.lessons.catalog import LESSONS
from clearhead.lessons.lesson import Lesson
from clearhead.lessons.page import LessonPage, frame
from clearhead.messages import Language
from clearhead.version import VERSION
from website.drawn import drawn, swept
from website.language import LANGUAGES, ROOT, words
from website.plan import lesson_path
from website.verb_pages import plain

SWEEPS: dict[str, tuple[str, tuple[Any, ...], dict[str, Any]]] = {
    "norm-train-infer": ("momentum", (0.02, 0.1, 0.3, 1.0), {}),
    "gamma-beta": ("lr", (0.01, 0.03, 0.1, 0.3), {}),
    "activations": ("shift", (0.0, 1.0, 2.0, 4.0), {}),
    "losses": ("smoothing", (0.0, 0.1, 0.3, 0.6), {}),
    "optimizers": ("lr", (0.002, 0.02, 0.05, 0.1), {}),
    "ema": ("decay", (0.5, 0.9, 0.98, 0.995), {}),
    "mixed-precision": ("small", (1e-9, 1e-8, 1e-7, 1e-5), {}),
    "attention-where-how": ("query", (0, 1, 2, 3), {}),
    "scale": ("keys", (8, 64, 512), {"steps": 60}),
    "masks": ("length", (4, 8, 12), {}),
    "strides": ("heads", (1, 2, 4, 8), {}),
    "over-long": ("context", (8, 12, 24), {}),
    "no-grad": ("dropout", (0.0, 0.1, 0.5), {}),
    "module": ("heads", (1, 2, 4), {}),
}
"""Lessons whose page has a slider: the knob, its values, and what else is set to keep the build quick."""


def measured(name: str, run: Path | None, settings: dict[str, Any]) -> LessonPage:
    """Runs a lesson; ``run`` is for those that look into one."""
    return clearhead.lesson(name, run if Lesson(name).needs_run else None, settings=settings)


def lesson_pages(
    names: list[str], run: Path | None, cache: Path, *, short: bool = False
) -> Iterator[tuple[str, dict[Language, str]]]:
    """Yields the path and the Markdown, by language, of each lesson that is measured, as soon as it is.

    Args:
        names: of the lessons.
        run: trained run, for those that look into one; they are left out where there is none.
        cache: folder where pages are kept, for as long as no file of the package changes.
        short: whether to measure in the short form, and at one value of each knob.
    """
    state = fingerprint(run)
    for name in names:
        if Lesson(name).needs_run and run is None:
            continue
        kept = cache / f"{name}-{'short' if short else 'whole'}-{state}.json"
        if not kept.is_file():
            for old in cache.glob(f"{name}-{'short' if short else 'whole'}-*.json"):
                old.unlink()
            kept.parent.mkdir(parents=True, exist_ok=True)
            pages = made(name, run, short=short)
            kept.write_text(json.dumps(pages, ensure_ascii=False), encoding="utf-8")
        yield lesson_path(name), json.loads(kept.read_text(encoding="utf-8"))


def fingerprint(run: Path | None) -> str:
    """Returns a word that changes with the code of the package, of these pages, and with the run."""
    digest = hashlib.sha256(str(run and run.resolve()).encode())
    package = ROOT / "src" / "clearhead"
    files = sorted(file for ending in ("py", "toml", "po") for file in package.rglob(f"*.{ending}"))
    for file in [*files, *(Path(__file__).with_name(name) for name in ("lesson_pages.py", "drawn.py", "words.toml"))]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def made(name: str, run: Path | None, *, short: bool) -> dict[Language, str]:
    """Measures a lesson, and returns its Markdown in each language."""
    begun = time.perf_counter()
    page = measured(name, run, dict(getattr(Lesson(name).module, "SHORT", {})) if short else {})
    seconds = time.perf_counter() - begun
    knob, values, others = SWEEPS.get(name, ("", (), {}))
    at = {} if short else {value: measured(name, run, {**others, knob: value}) for value in values}
    pages = {}
    for language in LANGUAGES:
        told = dataclasses.replace(page, language=language)
        pages[language] = markdown(told, seconds, knob, {value: shown(of, language) for value, of in at.items()})
    return pages


def shown(page: LessonPage, language: Language) -> list[Part]:
    """Returns the tables and curves of a lesson alone."""
    return Lesson(page.lesson).show(page.measured, language)


def markdown(page: LessonPage, seconds: float, knob: str, at: dict[Any, list[Part]]) -> str:
    """Returns a lesson as Markdown with HTML for tables and charts."""
    lesson, language = Lesson(page.lesson), page.language
    said, around, ours = lesson.words(language), frame(language), words(language)
    facts = lesson.facts(page.measured)
    parts = shown(page, language)
    blocks = [f"# {plain(page.title)}", plain(said["question"]), f"*{around['asked']}: {plain(lesson.text['asked'])}*"]
    blocks += [guess(said["guess"], facts["guess"], ours)]
    blocks += [f"## {around['measured']}", f"<div class=measured>\n{drawn(parts)}\n</div>"]
    blocks += [f"## {around['answer']}", claims(page, facts)]
    if at:
        default = str(min(at, key=lambda value: abs(value - page.settings[knob])))
        values = {str(value): of for value, of in at.items()}
        blocks += [f"## {ours['turn'].format(knob=knob)}", swept(knob, ours["turn_said"], values, default)]
    blocks += [f"## {around['practice']}", plain(said["practice"])]
    blocks += [f"## {around['code']}", f"```python\n{lesson.text['code'].strip()}\n```"]
    blocks += [f"## {around['yours']}", f"```text\n{lesson.text['command'].strip()}\n```"]
    blocks += [
        f"## {ours['again']}",
        ours["again_said"],
        f"```text\nclearhead lesson {page.lesson}{lang(language)}\n```",
    ]
    blocks += [knobs(page, ours), ours["measured_by"].format(version=VERSION, seconds=f"{seconds:.1f}")]
    return "\n\n".join(block for block in blocks if block) + "\n"


def lang(language: Language) -> str:
    """Returns the option that asks for a language which is not the first one."""
    return "" if language == "en" else f" --lang {language}"


def guess(question: str, value: str, ours: dict[str, str]) -> str:
    """Returns a question to think about, whose answer a click shows."""
    answer = ours["it_is"].format(value=value)
    return f"<details class=guess><summary>{html.escape(question)}</summary><p>{html.escape(answer)}</p></details>"


def claims(page: LessonPage, facts: dict[str, str]) -> str:
    """Returns the sentences of the answer as a list, each with whether it holds for what was measured."""
    sentences = Lesson(page.lesson).words(page.language)["answer"]
    around = frame(page.language)
    lines = []
    for key, sentence in sentences.items():
        told = plain(sentence.format(**facts))
        lines.append(f"- {told}" if page.claims[key] else f"- **{around['not_here']}**: {told}")
    return "<div class=claims markdown>\n\n" + "\n".join(lines) + "\n\n</div>"


def knobs(page: LessonPage, ours: dict[str, str]) -> str:
    """Returns the table of the knobs that a reader may turn; nothing if there are none."""
    lesson = Lesson(page.lesson)
    limits = getattr(lesson.module, "LIMITS", {})
    rows = [
        f"| `{name}` | `{value_of(page.settings[name])}` | {limits[name][0]:g} .. {limits[name][1]:g} |"
        for name in lesson.knobs()
        if name in limits
    ]
    return "\n".join([ours["knobs"], "|---|---|---|", *rows]) if rows else ""


def value_of(value: Any) -> str:
    """Returns a value as ``--set`` takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def measurable(run: Path | None) -> list[str]:
    """Returns the lessons that can be measured with what there is."""
    return [name for name in LESSONS if run is not None or not Lesson(name).needs_run]


def untaken(language: Language) -> dict[str, str]:
    """Returns for each lesson the page that it has in a build that does not measure it."""
    ours = words(language)
    return {
        lesson_path(name): (
            f"# {plain(Lesson(name).words(language)['title'])}\n\n{plain(Lesson(name).words(language)['question'])}\n\n"
            f"{ours['not_measured']}\n\n```text\nclearhead lesson {name}{lang(language)}\n```\n"
        )
        for name in LESSONS
    }
