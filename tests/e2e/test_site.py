"""The built site in a real browser: complete, offline, both languages, charts that move, search, a phone's width."""

import functools
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browsing
from tests.e2e.test_page import OUTSIDE
from website.builder import Build, run_zensical, write_pages
from website.checks import faults

pytestmark = pytest.mark.long  # zensical takes a minute for all pages
LESSONS = ("masks", "ema", "heads")
READOUT = "return [...document.querySelectorAll('.chart-value')].map((one) => one.textContent).slice(0, 2)"
SLIDE = """
const slider = document.querySelector(arguments[0]);
slider.value = arguments[1];
slider.dispatchEvent(new Event("input"));
"""
# the search lives in a tree of its own
DEEP = """
const below = (one) => (one.shadowRoot ? all(one.shadowRoot) : []);
const all = (root) => [...root.querySelectorAll("*")].flatMap((one) => [one, ...below(one)]);
const inside = (name) => all(document).filter((one) => one.tagName === name && one.getRootNode() !== document);
"""
TYPED = f"""{DEEP}
const input = inside("INPUT")[0];
if (input && input.value !== arguments[0]) {{
  input.focus();
  input.value = arguments[0];
  input.dispatchEvent(new Event("input", {{ bubbles: true, composed: true }}));
}}
"""
FOUND = f"{DEEP} return inside('A').map((one) => one.getAttribute('href'));"


@pytest.fixture(scope="module")
def site(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical")
    folder = tmp_path_factory.mktemp("site")
    build = Build(
        folder / "build",
        folder / "site",
        toy_run,
        LESSONS,
        short=True,
        views=("attention", "rank"),
        tell=lambda line: None,
    )
    write_pages(build)
    run_zensical(build)
    return build.site


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def visit(browser: Browser, address: str) -> None:
    """Opens a page of the server and waits until our script on it is done."""
    browser.run("location.href = arguments[0]", address)
    ready = "return location.href === arguments[0] && document.documentElement.dataset.ready === 'true'"
    for _ in range(600):
        if browser.run(ready, address):
            return
        time.sleep(0.1)
    raise AssertionError(f"{address} is not ready: {browser.complaints()}")


def test_nothing_is_broken_and_both_languages_have_the_same_pages(site: Path) -> None:
    assert faults(site) == []
    english = {page.relative_to(site).as_posix() for page in site.rglob("*.html") if site / "zh" not in page.parents}
    chinese = {page.relative_to(site / "zh").as_posix() for page in (site / "zh").rglob("*.html")}
    assert english == chinese
    assert len(english) > 80
    assert 'lang="zh' in (site / "zh" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [1280, 360])
def test_pages_ask_for_nothing_elsewhere_and_fit_the_window(address: str, width: int) -> None:
    with browsing(width) as browser:
        for page in ("index", "zh/index", "lessons/ema", "zh/cli/train", "recipe", "gallery", "zh/api/clearhead"):
            visit(browser, f"{address}/{page}.html")
            assert [one for one in browser.requests() if not one.startswith((address, "data:", "blob:"))] == []
            assert browser.complaints() == []
            assert browser.run(OUTSIDE.replace("main *", ".md-content *")) == [], page
            assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), page


def test_charts_and_knobs_move(address: str) -> None:
    with browsing() as browser:
        visit(browser, f"{address}/lessons/ema.html")
        first = browser.run(READOUT)
        browser.run(SLIDE, ".chart-controls input", 3)
        assert browser.run(READOUT) != first
        browser.click(".chart-legend button", 0)
        assert browser.run("return document.querySelector('.chart-legend button').ariaPressed") == "false"
        drawn = browser.run("return document.querySelector('figure.chart').querySelectorAll('.chart-curve').length")
        assert drawn == browser.run("return document.querySelector('.chart-legend').children.length") - 1


@pytest.mark.parametrize(("page", "query", "wanted"), [("index", "padding", "masks"), ("zh/index", "掩码", "masks")])
@pytest.mark.parametrize("served", [True, False], ids=["served", "from disk"])
def test_search_finds_in_both_languages(
    site: Path, address: str, page: str, query: str, wanted: str, served: bool
) -> None:
    with browsing() as browser:
        if served:
            visit(browser, f"{address}/{page}.html")
        else:
            browser.open(site / f"{page}.html")
        browser.click(".md-search__button")
        shown: list[str] = []
        for _ in range(100):
            browser.run(TYPED, query)
            shown = browser.run(FOUND)
            if any(wanted in link for link in shown):
                return
            time.sleep(0.2)
        raise AssertionError(shown)
