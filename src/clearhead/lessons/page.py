"""A lesson as a reader sees it: question, measurement, answer, code; in a terminal, as a page, as a notebook."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clearhead.arguments import checked
from clearhead.drawing.report import Note, Part, TextPart, View
from clearhead.drawing.wording import escaped
from clearhead.files import write_output
from clearhead.lessons.lesson import Claims, Lesson, read_words
from clearhead.messages import Language, speaking, spoken_language
from clearhead.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import RenderableType


def frame(language: Language) -> dict[str, str]:
    """Returns the words around all lessons: headings and names of themes."""
    words: dict[str, str] = read_words("page")[language]
    return words


@dataclass(frozen=True)
class Heading(Note):
    """The head of a section."""

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``."""
        from rich.text import Text

        return Text(self.text, style="bold cyan")

    def html(self) -> str:
        """See ``Part``."""
        return f"<h3>{escaped(self.text)}</h3>"


@dataclass(frozen=True)
class Code(TextPart):
    """Lines of Python or of a shell, as they are typed."""

    text: str

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``; a line that is too long for the screen goes on in the next."""
        from rich.text import Text

        return Text("\n".join(f"    {line}" for line in self.text.splitlines()), style="green", overflow="fold")

    def html(self) -> str:
        """See ``Part``."""
        return f"<pre><code>{escaped(self.text)}</code></pre>"


@dataclass(frozen=True)
class LessonPage(View):
    """A lesson with what was measured."""

    lesson: str
    language: Language
    settings: dict[str, Any]
    measured: Any
    claims: Claims
    guess: str = ""
    """What the reader guessed before."""
    run: str = ""
    """The trained run that it looks into."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return str(self._words["title"])

    @property
    def _words(self) -> dict[str, Any]:
        return Lesson(self.lesson).words(self.language)

    def parts(self) -> list[Part]:
        """See ``View``."""
        lesson, words, around = Lesson(self.lesson), self._words, frame(self.language)
        facts = lesson.facts(self.measured)
        parts: list[Part] = [Note(words["question"]), Note(f"{around['asked']}: {lesson.text['asked']}")]
        parts += [Heading(around["measured"]), *lesson.show(self.measured, self.language)]
        if self.guess:
            parts.append(Note(around["guessed"].format(guess=self.guess, value=facts["guess"]), marked=True))
        parts.append(Heading(around["answer"]))
        for key, sentence in words["answer"].items():
            holds = self.claims[key]
            said = sentence.format(**facts)
            parts.append(Note(f"- {said}" if holds else f"- {around['not_here']}: {said}", marked=not holds))
        parts += [Heading(around["practice"]), Note(words["practice"])]
        parts += [Heading(around["code"]), Code(lesson.text["code"].strip())]
        return [*parts, Heading(around["yours"]), Code(lesson.text["command"])]

    def html(self) -> str:
        """See ``View``; both languages, of which a page shows one."""
        languages: tuple[Language, ...] = ("en", "zh")
        blocks = []
        for language in languages:
            with speaking(language):
                block = View.html(replace(self, language=language))
            hidden = "" if language == self.language else " hidden"
            blocks.append(f'<div data-language="{language}"{hidden}>{block}</div>')
        return "".join(blocks)

    def as_dict(self) -> dict[str, Any]:
        """See ``View``."""
        answer = {key: self._words["answer"][key] for key in self.claims}
        facts = Lesson(self.lesson).facts(self.measured)
        return {
            "lesson": self.lesson,
            "title": self.title,
            "settings": self.settings,
            "run": self.run,
            "measured": asdict(self.measured),
            "answer": {key: {"holds": self.claims[key], "says": says.format(**facts)} for key, says in answer.items()},
        }


@checked
def lesson(
    name: str,
    run: str | Path | None = None,
    *,
    language: Language | None = None,
    settings: Mapping[str, Any] | None = None,
    guess: str = "",
    progress: Progress = silent,
) -> LessonPage:
    """Runs a lesson and checks each sentence of its answer.

    Args:
        name: of the lesson; ``clearhead lesson`` lists them.
        run: a trained run, of a lesson that looks into one.
        language: en or zh; else that of LANG.
        settings: knobs that are turned, such as ``{"d_k": (8, 64, 512)}``.
        guess: of the reader, to be shown beside what was measured.
        progress: called as (done, total) by lessons that train.

    Raises:
        UsageError: there is no such lesson or knob, or a knob may not have this value, or it needs a run.
        ModelError: the run is of a task that the lesson cannot use.
    """
    opened = Lesson(name)
    turned = opened.checked(settings or {})
    measured = opened.measure(turned, trained=None if run is None else Path(run), progress=progress)
    claims = opened.check(measured)
    used = str(run) if run is not None and opened.needs_run else ""
    return LessonPage(name, language or spoken_language(), {**opened.knobs(), **turned}, measured, claims, guess, used)


def save_notebook(page: LessonPage, file: Path) -> None:
    """Writes a lesson as a Jupyter notebook (nbformat 4.5), which measures again when it is run.

    Raises:
        DataError: the file cannot be written.
    """
    words, around, text = Lesson(page.lesson).words(page.language), frame(page.language), Lesson(page.lesson).text
    settings = {name: value for name, value in page.settings.items() if value != Lesson(page.lesson).knobs()[name]}
    given = [repr(page.lesson), *([repr(page.run)] if page.run else []), f"language={page.language!r}"]
    given += [f"settings={settings!r}"] if settings else []
    cells = [
        _cell("markdown", f"# {words['title']}\n\n{words['question']}\n\n*{around['asked']}: {text['asked']}*", 0),
        _cell("code", f"import clearhead\n\nclearhead.lesson({', '.join(given)})", 1),
        _cell("markdown", f"## {around['code']}", 2),
        _cell("code", text["code"].strip(), 3),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    tree = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    write_output(file, json.dumps(tree, ensure_ascii=False, indent=1).encode())


def _cell(kind: str, source: str, number: int) -> dict[str, Any]:
    cell = {"cell_type": kind, "id": f"lesson-{number}", "metadata": {}, "source": source}
    return cell | ({"outputs": [], "execution_count": None} if kind == "code" else {})
