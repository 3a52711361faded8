"""A server that streams events, and proxies in front of it that take their configuration from ``deploy``."""

import datetime
import http.client
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import ec

from tests.architecture.source import ROOT
from tests.limits import HANGS

NAME = "translate.example.org"
DEPLOY = ROOT / "deploy"
ENDLESS = "/endless"
"""A path whose stream goes on; others have one event and an end."""


class Events(ThreadingHTTPServer):
    """Sends one event for each request, and the end when it is told to; remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Streaming)
        self.asked: list[tuple[str, dict[str, str], int]] = []
        self.go_on, self.hung_up = threading.Event(), threading.Event()

    @property
    def port(self) -> int:
        """Its port."""
        return int(self.server_address[1])


class _Streaming(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Events

    def do_POST(self) -> None:
        """Remembers the request, and sends events."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.path, dict(self.headers), len(body)))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self._event("first")
            while not self.server.go_on.wait(0.05):
                if self.path == ENDLESS:
                    self._event(": ping")
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.server.hung_up.set()
            self.close_connection = True

    def do_GET(self) -> None:
        """Answers as to a POST."""
        self.do_POST()

    def _event(self, data: str) -> None:
        line = data if data.startswith(":") else f"data: {data}"
        self.wfile.write(f"{len(line) + 2:x}\r\n{line}\n\n\r\n".encode())

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def events() -> Iterator[Events]:
    """A running server of events."""
    server = Events()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_ports(count: int) -> list[int]:
    """Returns ports of the loopback that nothing listens at."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes a certificate for ``NAME`` that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
    signed = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    certificate, private = folder / "certificate.pem", folder / "private.pem"
    certificate.write_bytes(signed.sign(key, hashes.SHA256()).public_bytes(forms.Encoding.PEM))
    own = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
    private.write_bytes(own)
    return certificate, private


def changed(text: str, changes: dict[str, str]) -> str:
    """Returns a text with places of it changed, each of which must be there."""
    for old, new in changes.items():
        assert re.search(old, text), old
        text = re.sub(old, lambda _, new=new: new, text)
    return text


class Client:
    """Speaks to a proxy as a client on another machine does: by its name, over TLS."""

    def __init__(self, port: int, certificate: Path) -> None:
        self.port, self.context = port, ssl.create_default_context(cafile=certificate)
        self.open: list[http.client.HTTPConnection | http.client.HTTPResponse] = []

    def ask(
        self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        """Sends a request and returns the response, of which nothing is read yet."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=HANGS)
        connection = http.client.HTTPConnection(NAME)
        connection.sock = self.context.wrap_socket(plain, server_hostname=NAME)
        connection.request("GET" if body is None else "POST", path, body, headers or {})
        response = connection.getresponse()
        self.open += [response, connection]
        return response

    def close(self) -> None:
        """Hangs up, whatever is still to come."""
        while self.open:
            self.open.pop(0).close()


@contextmanager
def running(command: list[str], port: int, said: Path, env: dict[str, str] | None = None) -> Iterator[None]:
    """A process that listens at a port before the block begins, and ends with it; ``said`` gets what it says."""
    with said.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
    try:
        deadline = time.monotonic() + HANGS
        while not listens(port):
            assert process.poll() is None, said.read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(timeout=HANGS)


def listens(port: int) -> bool:
    """Returns whether anything listens at a port of the loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
