"""Settings: which hosts are this machine alone, and that the command line has each of them."""

import dataclasses

import pytest

from clearhead.cli.serve import command
from clearhead.errors import UsageError
from clearhead.serve.settings import DIALECTS, ServeSettings


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.1.2.3", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.7", False), ("127.evil.example", False)],
)  # fmt: skip
def test_which_hosts_are_this_machine_alone(host: str, local: bool) -> None:
    assert ServeSettings(host=host).is_local is local


@pytest.mark.parametrize(
    "given",
    [{"allow_host": (host,)} for host in ("", "http://x.org", "x.org:80", "x.org/a", "*")]
    + [{"allow_origin": (origin,)} for origin in ("", "x.org", "*", "null", "https://", "https://x.org/a", "https://a@x.org")],
)  # fmt: skip
def test_a_host_or_origin_that_no_request_has_is_refused(given: dict[str, tuple[str]]) -> None:
    with pytest.raises(UsageError, match=f"^--{next(iter(given)).replace('_', '-')} '"):
        ServeSettings(**given)  # type: ignore[arg-type]


def test_hosts_and_origins_that_requests_have() -> None:
    ServeSettings(allow_host=("x.org", "My-Host_1", "10.0.0.1", "fe80::1", "[::2]"))
    ServeSettings(allow_origin=("https://x.org", "http://localhost:5173/", "moz-extension://a-b", "HTTPS://X.org"))


def test_the_command_has_each_setting_with_its_default() -> None:
    options = {option.name: option for option in command.params}
    given = command.make_context("serve", ["run"]).params
    for field in dataclasses.fields(ServeSettings):
        name = {"open": "is_open", "page": "no_page"}.get(field.name, field.name)
        option = options[name]
        match field.name:
            case "page":
                assert given[name] is False
            case "dialects":
                assert given[name] == ",".join(DIALECTS)
            case "allow_host" | "allow_origin":
                assert option.multiple  # type: ignore[attr-defined]
            case _:
                assert given[name] == getattr(ServeSettings(), field.name), field.name
