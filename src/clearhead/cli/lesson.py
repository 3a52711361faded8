"""``clearhead lesson``: the open questions of a student, answered by programs that run."""

import sys
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import JSON, print_json, said_every
from clearhead.drawing.screen import console, forgive
from clearhead.errors import UsageError
from clearhead.messages import spoken_language

SECONDS = 2.0  # between reports of progress


@click.command("lesson")
@click.argument("name", required=False)
@click.option("--run", type=click.Path(path_type=Path), help="Your trained run; else that of the demo.")
@click.option("--set", "changes", multiple=True, metavar="KNOB=VALUES", help="Turn a knob; may be repeated.")
@click.option("--guess", metavar="TEXT", help="What you expect, instead of being asked.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write one self-contained page to this file.")
@click.option("--notebook", type=click.Path(path_type=Path), help="Write a Jupyter notebook to this file.")
@JSON
def command(name: str | None, changes: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """List the lessons, or run the lesson NAME: a question, a measurement made now, and an answer that it checks.

    \b
    clearhead lesson
    clearhead lesson scale
    clearhead lesson scale --set d_k=8,64,512 --html scale.html
    """
    from clearhead.lessons.lesson import Lesson
    from clearhead.lessons.taken import mark, taken

    language = spoken_language()
    if name is None:
        _list(language, taken(), as_json)
        return
    opened = Lesson(name)
    settings = opened.settings(changes)
    run = _run_of(opened, options["run"])
    guess = options.pop("guess") or ""
    if not guess and _asks(as_json, options):
        guess = _guess(opened.words(language), language)
    _show(opened, run, language, {"settings": settings, "guess": guess, "as_json": as_json, **options})
    mark(name)


def _list(language: Any, done: set[str], as_json: bool) -> None:
    from clearhead.lessons.catalog import LESSONS, THEMES
    from clearhead.lessons.lesson import Lesson, lessons_of
    from clearhead.lessons.page import frame

    titles = {name: str(Lesson(name).words(language)["title"]) for name in LESSONS}
    if as_json:
        print_json(
            [
                {"lesson": name, "theme": theme, "title": titles[name], "taken": name in done}
                for name, theme in LESSONS.items()
            ]
        )
        return
    forgive()
    widest = max(map(len, titles))
    for theme in THEMES:
        click.echo(frame(language)[theme])
        for name in lessons_of(theme):
            click.echo(f"  {'*' if name in done else ' '} {name:{widest}}  {titles[name]}")
    click.echo(f"\n* = {frame(language)['taken']}; clearhead lesson NAME")


def _asks(as_json: bool, options: dict[str, Any]) -> bool:
    """Whether there is somebody to ask for a guess."""
    return sys.stdin.isatty() and not (as_json or options["page"] or options["notebook"])


def _guess(words: dict[str, Any], language: Any) -> str:
    from clearhead.lessons.page import frame

    forgive()
    click.echo(f"{words['question']}\n\n{words['guess']}")
    return str(click.prompt(frame(language)["your_guess"], default="", show_default=False))


def _run_of(opened: Any, run: Path | None) -> Path | None:
    """Returns the run that a lesson looks into: the reader's, or the newest of the demo's."""
    if run is not None or not opened.needs_run:
        return run
    demos = sorted(Path("runs").glob("demo-*"), key=lambda path: path.stat().st_mtime)
    if not demos:
        raise UsageError(
            f"lesson {opened.name!r} looks into a trained run, and there is none of the demo's: add --run RUN, or "
            f"train the demo's in three minutes: clearhead demo"
        )
    return demos[-1]


def _show(opened: Any, run: Path | None, language: Any, options: dict[str, Any]) -> None:
    from clearhead.drawing.page import save_page
    from clearhead.lessons.page import lesson, save_notebook

    given = {"settings": options["settings"], "guess": options["guess"], "progress": said_every(SECONDS)}
    page = lesson(opened.name, run, language=language, **given)
    if options["page"]:
        save_page(page, options["page"])
    if options["notebook"]:
        save_notebook(page, options["notebook"])
    if options["as_json"]:
        print_json(page.as_dict())
    elif options["page"] or options["notebook"]:
        click.echo("\n".join(str(file) for file in (options["page"], options["notebook"]) if file))
    else:
        screen = console()
        screen.rule(page.title, align="left")
        screen.print(page.renderable(min(screen.width, 100)))
