"""What ``deploy`` holds does what it is for: proxies that hold no event back, a unit that may do little, an image."""

import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.streams import DEPLOY, ENDLESS, NAME, Client, Events, changed, events, free_ports, running, write_certificate

ROOT = DEPLOY.parent


class Front(NamedTuple):
    """A proxy and the server behind it."""

    client: Client
    server: Events
    plain: int
    """Its port without TLS."""
    said: Path
    """All that it writes while it runs."""


def program(name: str) -> str:
    """Returns the path of a program, or skips the test."""
    found = shutil.which(name) or shutil.which(name, path=f"{Path(sys.executable).parent}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def nginx(folder: Path) -> Iterator[Front]:
    """nginx with the site of ``deploy``, at other ports and with another certificate."""
    path, (secure, plain), (certificate, private) = program("nginx"), free_ports(2), write_certificate(folder)
    with events() as server:
        site = changed(
            (DEPLOY / "nginx.conf").read_text(encoding="utf-8"),
            {
                r"listen \[::\]:\d+( ssl)?;": "",
                r"listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
                r"listen 80;": f"listen 127.0.0.1:{plain};",
                r"127\.0\.0\.1:8400": f"127.0.0.1:{server.port}",
                r"/etc/ssl/certs/\S+\.pem": str(certificate),
                r"/etc/ssl/private/\S+\.key": str(private),
                r"/var/log/nginx/clearhead\.(error\.)?log": str(folder / "said"),
            },
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        places = "".join(f"{kind}_temp_path {folder / kind};" for kind in kinds)
        user = "user root;" if os.geteuid() == 0 else ""
        whole = f"daemon off; {user} pid {folder / 'pid'}; error_log stderr; events {{}} http {{ {places}\n{site}\n}}"
        (folder / "nginx.conf").write_text(whole, encoding="utf-8")
        command = [path, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        with running(command, secure, folder / "said"), closing(Client(secure, certificate)) as client:
            yield Front(client, server, plain, folder / "said")


@contextmanager
def caddy(folder: Path) -> Iterator[Front]:
    """Caddy with the site of ``deploy``, at other ports and with a certificate that is there."""
    path, (secure, plain), (certificate, private) = program("caddy"), free_ports(2), write_certificate(folder)
    with events() as server:
        site = changed(
            (DEPLOY / "Caddyfile").read_text(encoding="utf-8"),
            {
                rf"{re.escape(NAME)} \{{": f"{NAME} {{\n\ttls {certificate} {private}",
                r"\A#.*\n\{": f"{{\n\tadmin off\n\thttp_port {plain}\n\thttps_port {secure}",
                r"127\.0\.0\.1:8400\b(?= \{)": f"127.0.0.1:{server.port}",
            },
        )
        (folder / "Caddyfile").write_text(site, encoding="utf-8")
        command = [path, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
        home = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with running(command, secure, folder / "said", home), closing(Client(secure, certificate)) as client:
            yield Front(client, server, plain, folder / "said")


PROXIES = pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])


@PROXIES
def test_each_event_arrives_when_it_is_sent(proxy, tmp_path: Path) -> None:
    with proxy(tmp_path) as (client, server, *_):
        response = client.ask("/v1/completions", b"{}", {"Authorization": "Bearer K"})
        assert response.status == 200
        assert response.readline() == b"data: first\n"  # the server waits with the end until this has arrived
        server.go_on.set()
        assert response.read().endswith(b"data: [DONE]\n\n")
        ((path, headers, size),) = server.asked
        assert (path, size) == ("/v1/completions", 2)
        assert headers["Host"] == "localhost"
        assert headers["Authorization"] == "Bearer K"
        assert headers["X-Forwarded-For"] == "127.0.0.1"
        assert headers["X-Forwarded-Proto"] == "https"
        assert headers["X-Forwarded-Host"] == NAME
        assert response.headers["Strict-Transport-Security"]


@PROXIES
def test_who_hangs_up_is_gone_for_the_server_too(proxy, tmp_path: Path) -> None:
    with proxy(tmp_path) as (client, server, *_):
        response = client.ask(ENDLESS, b"{}")
        assert response.readline() == b"data: first\n"
        client.close()
        assert server.hung_up.wait(60)


@PROXIES
def test_bodies_that_the_server_refuses_reach_it_and_larger_ones_do_not(proxy, tmp_path: Path) -> None:
    with proxy(tmp_path) as (client, server, *_):
        server.go_on.set()
        assert client.ask("/translate", bytes(200 * 1024)).status == 200
        assert [size for _, _, size in server.asked] == [200 * 1024]
        assert client.ask("/translate", bytes(300 * 1024)).status in (413, 502)  # of Caddy 2.6; later ones say 413
        assert len([size for _, _, size in server.asked if size > 256 * 1024]) == 0


@PROXIES
def test_figures_stay_inside_and_keys_out_of_the_log(proxy, tmp_path: Path) -> None:
    with proxy(tmp_path) as (client, server, _, said):
        server.go_on.set()
        for path in ("/metrics", "/metrics?x", "/%6detrics", "//metrics"):
            status = client.ask(path).status
            assert status == 404, path
        assert server.asked == []
        assert client.ask("/translate?api_key=sesame", b"{}").read()
        assert len(server.asked) == 1
        assert "sesame" in server.asked[0][0]
        server.shutdown()
        server.server_close()
        assert client.ask("/translate?api_key=sesame", b"{}").status == 502
        assert "/translate" in said.read_text(encoding="utf-8")
        assert "sesame" not in said.read_text(encoding="utf-8")


@PROXIES
def test_plain_http_is_sent_to_tls(proxy, tmp_path: Path) -> None:
    with proxy(tmp_path) as (_, server, plain, _):
        connection = http.client.HTTPConnection("127.0.0.1", plain)
        connection.request("GET", "/v1/models?a=b", headers={"Host": NAME})
        response = connection.getresponse()
        connection.close()
        assert response.status == 308
        assert re.fullmatch(rf"https://{NAME}(:\d+)?/v1/models\?a=b", response.headers["Location"])
        assert server.asked == []


def test_the_unit_is_understood_and_exposes_little(tmp_path: Path) -> None:
    path = program("systemd-analyze")
    unit = (DEPLOY / "clearhead.service").read_text(encoding="utf-8")
    copy = tmp_path / "clearhead.service"
    copy.write_text(changed(unit, {r"ExecStart=\S+": "ExecStart=/bin/true"}), encoding="utf-8")
    verified = subprocess.run([path, "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    rated = [path, "security", "--offline=yes", "--threshold=13", str(copy)]  # of 100
    done = subprocess.run(rated, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-300:]


def test_the_image_follows_the_rules_of_the_linter() -> None:
    done = subprocess.run(
        [program("hadolint"), str(DEPLOY / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_for_no_root_and_watches_its_health() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    last = lines[lines.rindex("FROM ") :]
    assert re.search(r"^USER (?!0)\d+:(?!0)\d+$", last, re.MULTILINE)
    assert last.index("USER ") > last.index("COPY ")
    assert re.search(r"^HEALTHCHECK(.|\n)*/health", last, re.MULTILINE)
    assert "torch" not in last
    assert 'STOPSIGNAL SIGTERM\nENTRYPOINT ["clearhead"]\n' in last


def test_the_context_of_the_image_has_what_the_build_takes_and_no_runs() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    taken = {line[1:] for line in ignored if line.startswith("!")}
    built = (ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8")
    needed = {path.split("/")[0] for path in re.findall(r'"\.\./([\w./]+)"', built)} | {"runtime", "constraints.txt"}
    assert ignored[1] == "*"
    assert taken == needed
    assert all((ROOT / name).exists() for name in taken)


def test_the_image_is_built_of_what_is_there_and_pinned() -> None:
    lines = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    built = (ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = set(re.findall(r"^FROM python:(\d+\.\d+)-slim\b", lines, re.MULTILINE))
    classifiers = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"Python :: {version}" in classifiers, "tested with"
    for source in re.findall(r"^COPY (?!--from)(\S+) ", lines, re.MULTILINE):
        assert (ROOT / source).exists()
    (extra,) = re.findall(r'"\./runtime\[(\w+)\]"', lines)
    (wanted,) = re.findall(rf"^{extra} = \[(.*)\]$", built, re.MULTILINE)
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE))
    for name, least in re.findall(r'"([\w-]+)>=([\d.]+)"', wanted):
        assert numbers(pins[name]) >= numbers(least), name
    assert "-c constraints.txt" in lines


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_all_name_one_port_and_options_that_the_verb_has() -> None:
    verb = pytest.importorskip("clearhead.cli.serve")
    known = {option for parameter in verb.command.params for option in parameter.opts}
    for name in ("Dockerfile", "clearhead.service", "nginx.conf", "Caddyfile"):
        text = (DEPLOY / name).read_text(encoding="utf-8")
        used = set(re.findall(r"--[a-z-]+(?=[ \",])", " ".join(re.findall(r"^(?!.*pip install).*serve.*", text, re.M))))
        assert used <= known, name
        assert set(re.findall(r"\b8\d{3}\b", text)) == {"8400"}
