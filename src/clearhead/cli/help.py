"""The reader's language: the option that chooses it, and help, which is translated on its way to the screen."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise, takewhile
from typing import Any

import click

from clearhead.messages import localized, speaking, spoken_language

EXTRA = r"(?:^|  )\[(.*?)\](?=$|  \[)"  # what stands behind the text of an option, in square brackets
COLUMN = 28  # widest first column of a list, in columns of the terminal
LANG = click.Option(
    ["--lang"],
    type=click.Choice(["en", "zh"]),
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, chosen: ctx.with_resource(speaking(chosen)),
    help="Language of what is shown; else that of LANG.",
)
"""An option of every verb, which ``Verbs`` adds; ``chosen_language`` knows it before anything is parsed."""


def chosen_language(words: Sequence[str]) -> Any:
    """Returns the language that the words of a command line ask for, or None; a wrong one is the parser's to refuse."""
    ours = list(takewhile(lambda word: word != "--", words))
    for at, word in enumerate(ours):
        name, _, value = word.partition("=")
        value = value or (ours[at + 1] if name == word and at + 1 < len(ours) else "")
        if name == "--lang" and value in ("en", "zh"):
            return value
    return None


class Formatter(click.HelpFormatter):
    """Translates headings, paragraphs and lists; Chinese is wrapped by the columns that it takes."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """See ``click.HelpFormatter``."""
        super().write_usage(prog, args, "用法：" if spoken_language() == "zh" else prefix)

    def write_heading(self, heading: str) -> None:
        """See ``click.HelpFormatter``."""
        if spoken_language() == "en":
            super().write_heading(heading)
        else:
            self.write(f"{'':>{self.current_indent}}{localized(heading)}：\n")

    def write_text(self, text: str) -> None:
        """See ``click.HelpFormatter``; a block behind a backspace keeps its lines."""
        if spoken_language() == "en" and text.isascii():
            super().write_text(text)
            return
        blocks = re.split(r"\n\s*\n", text)
        indent = " " * self.current_indent
        shown = [
            [f"{indent}{line}" for line in block.split("\n")[1:]]
            if block.startswith("\b")
            else _wrapped(localized(" ".join(block.split())), self.width, indent)
            for block in blocks
        ]
        self.write("\n\n".join("\n".join(lines) for lines in shown) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = COLUMN, col_spacing: int = 2) -> None:
        """See ``click.HelpFormatter``."""
        if spoken_language() == "en":
            super().write_dl(rows, col_max, col_spacing)
            return
        from rich.cells import cell_len

        rows = list(rows)
        widest = min(max((cell_len(name) for name, _ in rows), default=0), col_max) + col_spacing
        for name, text in rows:
            first = " " * self.current_indent + name
            place = self.current_indent + widest
            lines = _wrapped(_described(text), self.width, " " * place)
            if lines and cell_len(name) <= widest - col_spacing:
                lines[0] = first + " " * (place - cell_len(first)) + lines[0].lstrip()
                first = ""
            self.write("".join(f"{line}\n" for line in [first, *lines] if line))


class Context(click.Context):
    """A context whose help is formatted as this module says."""

    formatter_class = Formatter


def _described(text: str) -> str:
    """Returns the line on an option in Chinese; what click adds stands in square brackets behind it."""
    help_text, *extras = re.split(EXTRA, text)
    return "  ".join([localized(help_text), *(f"[{_extra(extra)}]" for extra in filter(None, extras))]).strip()


def _extra(text: str) -> str:
    """Returns what stands in square brackets in Chinese; a default of a single word is a value, which stays."""
    value = re.match(r"default: (\S+)(?=$|; )", text)
    return localized("default") + "：" + text.removeprefix("default: ") if value else localized(text)


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    """Returns a paragraph as indented lines of at most ``width`` columns."""
    from clearhead.drawing.wording import chinese_cuts  # loads rich, which English help does without

    cuts = [0, *chinese_cuts(text, max(width - len(indent), 11)), len(text)]
    return [indent + text[start:end].strip() for start, end in pairwise(cuts)]
