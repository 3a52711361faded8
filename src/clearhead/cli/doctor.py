"""``clearhead doctor``: what this machine offers."""

import click

from clearhead.cli.options import JSON, print_json


@click.command("doctor")
@JSON
def command(as_json: bool) -> None:
    """Say what this machine offers: Python, torch, threads, devices, precision, disk, optional extras."""
    from clearhead.verbs.doctor import examine

    machine = examine()
    if as_json:
        print_json(machine)
        return
    for name, value in machine.items():
        if isinstance(value, dict):
            click.echo(f"{name}:")
            for inner, text in value.items():
                click.echo(f"  {inner:14} {text}")
        else:
            click.echo(f"{name:16} {value}")
