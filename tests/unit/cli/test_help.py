"""Help on a screen of 80 columns in both languages: nothing is too wide, nothing is lost, commands stay as they are."""

import re

import click
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from clearhead.cli.help import Context
from clearhead.cli.main import VERBS, cli


def helped(*words: str) -> list[str]:
    """The lines of a help text."""
    done = CliRunner().invoke(cli, [*words, "--help"], prog_name="clearhead", terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("verb", ["", *VERBS])
def test_a_help_text_fits_into_80_columns(verb: str, language: str) -> None:
    for line in helped("--lang", language, *filter(None, [verb])):
        assert cell_len(line) <= 80 or line.strip().startswith(("clearhead ", "[")), line


@pytest.mark.parametrize("verb", VERBS)
def test_chinese_help_has_the_options_and_commands_of_the_english(verb: str) -> None:
    english, chinese = (helped("--lang", language, verb) for language in ("en", "zh"))
    assert chinese[0].startswith("用法：clearhead")
    assert [line for line in english if line.startswith("  clearhead ")] == [
        line for line in chinese if line.startswith("  clearhead ")
    ]
    options = english[english.index("Options:") :], chinese[chinese.index("选项：") :]
    names = [[match[1] for line in lines if (match := re.match(r"  (-.*?)(?:  |$)", line))] for lines in options]
    assert names[0] == names[1]


@pytest.mark.parametrize("verb", VERBS)
def test_chinese_help_is_chinese(verb: str) -> None:
    prose = re.compile(r"(?<![\w./<=-])[a-z]{3,}(?: [a-z]{2,}){2,}")  # three words in a row
    lines = [line for line in helped("--lang", "zh", verb) if not line.startswith("  clearhead ")]
    assert [line for line in lines if prose.search(line)] == []


def test_what_click_adds_stands_behind_the_text_and_is_translated() -> None:
    @click.command(context_settings={"help_option_names": ["-h"]})
    @click.option("--beam", type=int, default=5, show_default=True, help="Hypotheses kept; 1: greedy.")
    def command(beam: int) -> None:
        """Unknown prose stays.

        \b
        clearhead  keeps   spaces
        """

    command.context_class = Context
    said = CliRunner().invoke(command, ["-h"], prog_name="x", env={"LANG": "zh_CN.UTF-8"}).output
    assert "[默认：5]" in said
    assert "  clearhead  keeps   spaces\n" in said
    assert "Unknown prose stays." in said
    assert "default" in CliRunner().invoke(command, ["-h"], prog_name="x", env={"LANG": "C"}).output
