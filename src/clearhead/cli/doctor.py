"""``clearhead doctor``: what this machine offers."""

import click

from clearhead.cli.options import JSON, print_json
from clearhead.drawing.screen import folded
from clearhead.drawing.wording import padded
from clearhead.messages import localized


@click.command("doctor")
@JSON
def command(as_json: bool) -> None:
    """Say what this machine offers: Python, torch, threads, devices, precision, disk, optional extras."""
    from clearhead.verbs.machine.doctor import examine

    machine = examine()
    if as_json:
        print_json(machine)
        return
    for name, value in machine.items():
        if isinstance(value, dict):
            click.echo(localized(f"{name}: ").rstrip())
            for inner, text in value.items():
                _tell(f"  {padded(localized(inner), 14)}", str(text))
        else:
            _tell(padded(localized(name), 16), str(value))


def _tell(name: str, text: str) -> None:
    click.echo(folded(f"{name} {localized(text)}", len(name) + 1))
