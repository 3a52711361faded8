"""The ``clearhead`` command: finds verbs, loads one when it runs, turns errors into one line and an exit code."""

import importlib
import keyword
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from clearhead import __version__
from clearhead.cli.help import LANG, Context, chosen_language
from clearhead.drawing.screen import guard_terminal
from clearhead.errors import ClearheadError, nearest
from clearhead.log import LOG
from clearhead.messages import localized, speaking

VERBS = {
    "train": "Train a model from raw text.",
    "watch": "Follow a run from another terminal: step, loss, time left, scores, samples.",
    "plan": "Forecast memory and time of a recipe, for one device or many.",
    "replay": "Say where the step that ended a run first was not finite.",
    "translate": "Translate lines with a trained run.",
    "generate": "Continue prompts with a trained language model.",
    "fill": "Say what may stand at [MASK] in a text.",
    "embed": "Give each text a vector.",
    "classify": "Say what texts or pairs of texts are.",
    "evaluate": "Score a run on a split: BLEU, chrF, loss, accuracy, speed.",
    "compare": "Score several runs side by side.",
    "trace": "Follow one sentence through every step of a run.",
    "inspect": "Look inside a run: modules, memory, autograd, layout, gradients and more.",
    "import": "Make a run of a model in Hugging Face's layout.",
    "export": "Write the model of a run for other libraries.",
    "serve": "Serve models by HTTP, to clients of OpenAI, LibreTranslate and DeepL, and to people.",
    "checkpoints": "List the checkpoints of a run: steps, scores, sizes; check that they are whole.",
    "average": "Average the last checkpoints of a run into one.",
    "shortlist": "Learn which pieces may translate which, for faster translation.",
    "back-translate": "Translate text of one language, as a corpus to train another translator on.",
    "filter": "Drop bad pairs of a parallel corpus, and count them by reason.",
    "calibrate": "Learn how good translations are, for translate --confidence.",
    "lesson": "Answer the open questions of a student, by programs that measure.",
    "quiz": "Ask questions about Transformers, with numbers drawn anew.",
    "presets": "List the recipes that come with clearhead.",
    "doctor": "Say what this machine offers.",
    "demo": "Train a small Chinese-English translator and talk to it.",
}


class Verbs(click.Group):
    """A group whose verbs are imported when they run, so that ``--help`` is instant."""

    context_class = Context

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Verbs in the order a user meets them."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one verb."""
        if cmd_name not in VERBS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f"clearhead.cli.{module}").command
        command.context_class = Context
        if LANG not in command.params:
            command.params.append(LANG)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Finds the verb, or names the nearest one."""
        if args[0] not in VERBS:
            ctx.fail(f"no verb {args[0]!r}{nearest(args[0], VERBS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


LEFT_OUT = ("torch", "pydantic", "jaxtyping", "langcodes", "sacrebleu", "safetensors", "tomlkit")
"""What an installation has not that only runs models, see ``runtime/``."""

# click would take colour codes out of what is piped, which are part of a user's text; terminals are ``screen``'s
SETTINGS = {"help_option_names": ["-h", "--help"], "color": True}


@click.group(cls=Verbs, name="clearhead", params=[LANG], context_settings=SETTINGS)
@click.version_option(__version__, message="clearhead %(version)s")
def cli() -> None:
    """From raw text to a trained, understood and shipped Transformer."""


class _Screen(logging.Handler):
    """Shows the library's warnings on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(f"clearhead: {localized(record.getMessage())}", err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with its code: 0, 2 usage, 3 data, 4 model, 130 interrupted, 1 anything else."""
    screen = _Screen(logging.WARNING)
    LOG.addHandler(screen)
    try:
        _main(arguments)
    finally:
        LOG.removeHandler(screen)


def _main(arguments: Sequence[str] | None) -> None:
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    guard_terminal()
    with speaking(chosen_language(words)):
        _run(words, debug=debug)


def _run(words: list[str], *, debug: bool) -> None:
    try:
        code = cli.main(words, prog_name="clearhead", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        _leave("interrupted", 130)
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "clearhead"
        _leave(error.format_message(), error.exit_code, f" (see {where} --help)")
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except ClearheadError as error:
        if debug:
            raise
        _leave(str(error), error.exit_code)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, ModuleNotFoundError) and error.name in LEFT_OUT:
            _leave(f"this takes {error.name}, which is not installed: `pip install clearhead` brings it", 1)
        _leave(f"{type(error).__name__}: {error}", 1, " (unexpected; --debug shows where)")


def _leave(message: str, code: int, advice: str = "") -> None:
    rank = os.environ.get("RANK", "0") if "TORCHELASTIC_RUN_ID" in os.environ else "0"
    who = "clearhead" if rank == "0" else f"clearhead, process {rank}"
    click.echo(f"{who}: {localized(' '.join(message.split()))}{localized(advice)}", err=True)
    sys.exit(code)
