"""A headless Chromium driven over the WebDriver protocol by plain HTTP: what tests of pages share."""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.limits import HANGS

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # what the protocol calls a reference to an element
NARROWEST = 500  # a window; what is narrower is a phone's screen
KEYS = {
    "right": "\ue014",
    "left": "\ue012",
    "up": "\ue013",
    "down": "\ue015",
    "tab": "\ue004",
    "enter": "\ue007",
    "escape": "\ue00c",
}


class Browser:
    """One window. Its network is watched and has no way out: every host but this machine is unknown to it."""

    def __init__(self, port: int, width: int, height: int, *, dark: bool) -> None:
        self._root = f"http://127.0.0.1:{port}/session"
        arguments = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
            f"--window-size={width},{height}",
        ]
        phone = {"width": width, "height": height, "pixelRatio": 2.0, "touch": True, "mobile": True}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": {
                "binary": shutil.which("chromium"),
                "args": arguments + ["--blink-settings=preferredColorScheme=0"] * dark,
                **({"mobileEmulation": {"deviceMetrics": phone}} if width < NARROWEST else {}),
                "perfLoggingPrefs": {"enableNetwork": True, "enablePage": False},
            },
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        started = _ask("POST", self._root, {"capabilities": {"alwaysMatch": capabilities}})
        self._root += f"/{started['sessionId']}"

    def open(self, file: Path) -> None:
        """Opens a page from disk and waits until its script is done."""
        self.visit(file.resolve().as_uri())

    def visit(self, address: str) -> None:
        """Opens a page and waits until its script is done."""
        self._post("url", {"url": address})
        for _ in range(3000):
            if self.run("return document.documentElement.dataset.ready") == "true":
                return
            time.sleep(0.1)
        raise AssertionError(f"the page is not ready: {self.complaints()}")

    def run(self, script: str, *arguments: object) -> Any:
        return self._post("execute/sync", {"script": script, "args": list(arguments)})

    def click(self, selector: str, number: int = 0) -> None:
        """Clicks as a hand does, where the element is."""
        self.run("arguments[0].scrollIntoView({block: 'center'})", self._all(selector)[number])
        self._post(f"element/{self._all(selector)[number][ELEMENT]}/click", {})

    def hover(self, selector: str, across: float, down: float) -> None:
        """Moves the pointer to a place in an element, in shares of its size."""
        target = self._all(selector)[0]
        self.run("arguments[0].scrollIntoView({block: 'center'})", target)
        box = self.run("const b = arguments[0].getBoundingClientRect(); return [b.x, b.y, b.width, b.height]", target)
        x, y = box[0] + across * box[2], box[1] + down * box[3]
        move = {"type": "pointerMove", "duration": 0, "x": int(x), "y": int(y)}
        self._post("actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [move]}]})

    def press(self, *keys: str) -> None:
        """Presses keys on what has the focus."""
        strokes = [{"type": how, "value": KEYS[key]} for key in keys for how in ("keyDown", "keyUp")]
        self._post("actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]})

    def complaints(self) -> list[str]:
        """What the console has said since it was last asked."""
        return [one["message"] for one in self._post("se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Every address that was asked for since it was last asked."""
        entries = [json.loads(one["message"])["message"] for one in self._post("se/log", {"type": "performance"})]
        return [one["params"]["request"]["url"] for one in entries if one["method"] == "Network.requestWillBeSent"]

    def shoot(self, file: Path) -> bytes:
        """Takes a picture of the window."""
        picture = base64.b64decode(_ask("GET", f"{self._root}/screenshot"))
        file.write_bytes(picture)
        return picture

    def close(self) -> None:
        _ask("DELETE", self._root)

    def _all(self, selector: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._post("elements", {"using": "css selector", "value": selector})
        return found

    def _post(self, command: str, body: dict[str, Any]) -> Any:
        return _ask("POST", f"{self._root}/{command}", body)


def put(browser: Browser, selector: str, text: str) -> None:
    """Types as a hand does: the field has the text, and says so."""
    script = (
        "const f = document.querySelector(arguments[0]); f.value = arguments[1]; f.dispatchEvent(new Event('input'))"
    )
    browser.run(script, selector, text)


def until(browser: Browser, condition: str) -> Any:
    """Waits until a condition holds in the page, and returns what it gives."""
    for _ in range(1200):
        if found := browser.run(f"return ({condition}) || null"):
            return found
        time.sleep(0.05)
    raise AssertionError(
        f"{condition} never held: {browser.complaints()}; {browser.run('return document.body.innerText')}"
    )


def texts(browser: Browser, selector: str) -> list[str]:
    found: list[str] = browser.run(
        "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
    )
    return found


@contextlib.contextmanager
def browsing(width: int = 1280, height: int = 900, *, dark: bool = False) -> Iterator[Browser]:
    """Starts a browser; skips where there is none, or no driver."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)}: install Debian's chromium and chromium-driver")
    with tempfile.TemporaryDirectory() as home:
        driver, port = _driver(Path(home))
        try:
            browser = Browser(port, width, height, dark=dark)
            try:
                yield browser
            finally:
                browser.close()
        finally:
            driver.terminate()
            driver.wait(HANGS)


def _driver(home: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Starts a driver on a port of its own choice, anew where another process has taken the port meanwhile."""
    log = home / "driver.log"
    for _ in range(3):
        with log.open("wb") as file:
            driver = subprocess.Popen(
                ["chromedriver", "--port=0"],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=os.environ | {"HOME": str(home)},
            )
        until = time.monotonic() + HANGS
        while time.monotonic() < until and driver.poll() is None:
            found = re.search(r"started successfully on port (\d+)", log.read_text())
            if found:
                return driver, int(found[1])
            time.sleep(0.1)
        driver.kill()
        driver.wait()
    raise AssertionError(f"chromedriver did not start: {log.read_text()}")


def _ask(method: str, address: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=HANGS) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(json.load(error)["value"]["message"]) from error
