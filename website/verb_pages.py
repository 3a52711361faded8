"""The reference of the command line, made from the commands themselves: a page for each verb."""

import re
from collections.abc import Iterable

import click

from clearhead.cli.help import EXTRA
from clearhead.cli.main import VERBS, cli
from clearhead.messages import Language, localized, speaking
from website.language import words
from website.plan import verb_path


class Markdown(click.HelpFormatter):
    """Writes what a command says of itself as Markdown, in the language that is spoken.

    Args:
        columns: heads of the columns of a list.
    """

    def __init__(self, columns: tuple[str, str]):
        super().__init__()
        self.columns = columns

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """See ``click.HelpFormatter``."""
        self.write(f"```text\n{prog} {args}\n```\n\n")

    def write_heading(self, heading: str) -> None:
        """See ``click.HelpFormatter``."""
        self.write(f"## {localized(heading)}\n\n")

    def write_text(self, text: str) -> None:
        """See ``click.HelpFormatter``; lines behind a backspace are commands."""
        for block in re.split(r"\n\s*\n", text):
            if block.startswith("\b"):
                lines = [line.strip() for line in block.splitlines()[1:]]
                self.write("```sh\n" + "\n".join(lines) + "\n```\n\n")
            else:
                self.write(f"{plain(localized(' '.join(block.split())))}\n\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """See ``click.HelpFormatter``."""
        lines = [f"| `{name}` | {plain(cell(described(text)))} |" for name, text in rows]
        self.write(
            f"<div class=stack markdown>\n\n| {self.columns[0]} | {self.columns[1]} |\n|---|---|\n"
            + "\n".join(lines)
            + "\n\n</div>\n\n"
        )


def described(text: str) -> str:
    """Returns the line on an option; what click adds to it stands in square brackets behind it."""
    said, *added = re.split(EXTRA, text)
    return " ".join([localized(said), *(f"[{localized(each)}]" for each in filter(None, added))]).strip()


def cell(text: str) -> str:
    """Returns a text that does not end its cell of a table."""
    return text.replace("|", "\\|")


def plain(text: str) -> str:
    """Returns a text in which no character is taken for Markdown."""
    return re.sub(r"([*_\[`])", r"\\\1", text).replace("<", "&lt;")


def verb_pages(spoken: Language) -> dict[str, str]:
    """Returns the Markdown of the page of each verb, by path."""
    return {verb_path(verb): page(verb, spoken) for verb in VERBS}


def page(verb: str, spoken: Language) -> str:
    """Returns the Markdown of the page of a verb."""
    said = words(spoken)
    with speaking(spoken), click.Context(cli, info_name="clearhead") as parent:
        command = cli.get_command(parent, verb)
        assert command is not None
        ctx = click.Context(command, info_name=verb, parent=parent)
        formatter = Markdown((said["options"], said["says"]))
        command.format_help(ctx, formatter)
    return f"# clearhead {verb}\n\n{formatter.getvalue()}\n{said['made_of_code']}\n"
