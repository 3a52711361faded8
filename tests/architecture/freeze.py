"""The public surface as text, a line for each thing; ``python -m tests.architecture.freeze`` writes it.

A changed line is a promise changed: freeze again in the same change, and say so in the CHANGELOG.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMMAND = "python -m tests.architecture.freeze"


def public_names() -> list[str]:
    """Returns the names that ``from clearhead import *`` gives, in order, and then those of ``clearhead.types``."""
    package = importlib.import_module("clearhead")
    names = sorted(getattr(package, "__all__", ["__version__"]))
    return names + [f"types.{name}" for name in sorted(importlib.import_module("clearhead.types").__all__)]


def cli_options() -> list[str]:
    """Returns a line for each verb, argument and option of the command line."""
    import click

    command = importlib.import_module("clearhead.cli.main").cli
    return list(_command_lines(command, click.Context(command, info_name="clearhead", **command.context_settings)))


def _command_lines(command: Any, context: Any) -> Iterator[str]:
    import click

    yield context.command_path
    for parameter in sorted(command.params, key=lambda p: (p.param_type_name, p.name)):
        yield f"{context.command_path} {_parameter_line(parameter)}"
    if isinstance(command, click.Group):
        for verb in sorted(command.list_commands(context)):
            inner = command.get_command(context, verb)
            yield from _command_lines(inner, click.Context(inner, info_name=verb, parent=context))


def _parameter_line(parameter: Any) -> str:
    spelling = "/".join([*parameter.opts, *parameter.secondary_opts])
    choices = getattr(parameter.type, "choices", None)
    kind = "|".join(map(str, choices)) if choices else parameter.type.name
    marks = [
        "flag" if getattr(parameter, "is_flag", False) else kind,
        "required" if parameter.required else "",
        "multiple" if getattr(parameter, "multiple", False) or parameter.nargs == -1 else "",
    ]
    if parameter.param_type_name == "argument":
        spelling = parameter.name.upper()
    return " ".join([spelling, *filter(None, marks)])


SNAPSHOTS = {"public_names.txt": public_names, "cli_options.txt": cli_options}


def main() -> None:
    """Writes each snapshot beside this file."""
    for file_name, current in SNAPSHOTS.items():
        try:
            (HERE / file_name).write_text("\n".join(current()) + "\n", encoding="utf-8")
        except ModuleNotFoundError as error:
            if error.name not in {"clearhead.cli", "clearhead.cli.main"}:
                raise


if __name__ == "__main__":
    main()
