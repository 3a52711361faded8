"""``clearhead quiz``: questions with numbers drawn anew; the answers are measured when they are asked."""

import random
from typing import Any

import click

from clearhead.cli.options import JSON, print_json, ranged
from clearhead.drawing.screen import forgive
from clearhead.messages import spoken_language
from clearhead.ranges import Rows, Seed

LETTERS = "abcd"


@click.command("quiz")
@click.argument("theme", required=False)
@click.option("--questions", type=ranged(Rows), default=5, show_default=True, help="How many are asked.")
@click.option("--seed", type=ranged(Seed), help="Of the questions; else others each time.")
@JSON
def command(theme: str | None, questions: int, seed: int | None, as_json: bool) -> None:
    """Ask questions, of a THEME of the lessons or of all; answer with a letter. What was wrong is asked again.

    With --json the questions are printed with their answers, and nothing is asked.

    \b
    clearhead quiz
    clearhead quiz pytorch --questions 10
    """
    from clearhead.lessons.quiz import ask
    from clearhead.lessons.taken import remember, to_repeat

    language = spoken_language()
    if not as_json:
        forgive()
    rng, again, right = random.Random(seed), [] if as_json else to_repeat(), 0
    for number in range(1, questions + 1):
        question = ask(theme, rng, again)
        if as_json:
            _print(question, language)
            continue
        given = _given(question, language, f"{number}/{questions}")
        if given is None:
            break
        is_right = given == question.right
        right += is_right
        again = [kind for kind in again if kind != question.kind]
        remember(question.kind, repeat=not is_right)
        _say(question, language, is_right)
    if not as_json:
        click.echo(f"{right}/{questions}")


def _print(question: Any, language: Any) -> None:
    print_json(
        {
            "kind": question.kind,
            "question": question.text(language),
            "choices": question.shown(language),
            "right": question.right,
            "why": question.why(language),
        }
    )


def _given(question: Any, language: Any, place: str) -> int | None:
    """Asks; returns the number of the answer, or None where nobody answers any more."""
    click.echo(f"{place}  {question.text(language)}")
    shown = question.shown(language)
    for letter, answer in zip(LETTERS, shown, strict=False):
        click.echo(f"  {letter}) {answer}")
    letters = LETTERS[: len(shown)]
    try:
        text = click.prompt(">", type=click.Choice(list(letters), case_sensitive=False))
    except click.exceptions.Abort:
        click.echo()
        return None
    return letters.index(text)


def _say(question: Any, language: Any, is_right: bool) -> None:
    from clearhead.lessons.page import frame

    around = frame(language)
    if is_right:
        click.echo(f"  {around['right']} {question.why(language)}\n")
    else:
        answer = f"{LETTERS[question.right]}) {question.shown(language)[question.right]}"
        click.echo(f"  {around['wrong'].format(answer=answer)} {question.why(language)}\n")
