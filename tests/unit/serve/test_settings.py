"""Settings: which hosts are this machine alone, and that the command line has each of them."""

import dataclasses

import click
import pytest

from clearhead.cli.serve import command
from clearhead.serve.settings import DIALECTS, ServeSettings


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.7", False), ("127.evil.example", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine_alone(host: str, local: bool) -> None:
    assert ServeSettings(host=host).is_local is local


def test_the_command_has_each_setting_with_its_default() -> None:
    options = {option.name: option for option in command.params}
    for field in dataclasses.fields(ServeSettings):
        name = {"open": "is_open", "page": "no_page"}.get(field.name, field.name)
        option = options[name]
        match field.name:
            case "page":
                assert option.default is False
            case "dialects":
                assert option.default == ",".join(DIALECTS)
            case "allow_host" | "allow_origin":
                assert option.multiple  # type: ignore[attr-defined]
            case _:
                context = click.Context(command)
                assert option.get_default(context) == getattr(ServeSettings(), field.name), field.name
