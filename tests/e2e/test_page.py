"""The page of ``clearhead inspect`` in a real browser: it draws, answers pointer and keys, and asks for nothing."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from clearhead.drawing.colours import DARK, LIGHT, colour
from clearhead.drawing.heatmap import AttentionPicture, Panel
from clearhead.drawing.page import save_page
from clearhead.drawing.report import Bars, Curves, Note, Part, Table, View
from clearhead.drawing.together import Together
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.views import all_of, memory_of
from clearhead.verbs.look.writing import BeamTreePicture, StepsTable
from tests.browser import Browser, browsing

TEXT = "他喜欢书。"
LARGE, SAID, FACTS = ".map canvas", "#attention .said", "#attention .facts"
PIXELS = "return document.querySelector('.map canvas').toDataURL()"
STATUS = "return document.querySelector(arguments[0]).textContent"
# what is written must stand out from what is below it (WCAG 2, contrast of 4.5)
CONTRAST = """
const luminance = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = (one) => {
  const below = getComputedStyle(one).backgroundColor;
  return /, 0\\)$|transparent/.test(below) ? ground(one.parentElement) : luminance(below);
};
const written = "h1, h2, p, td, th, caption, figcaption, .node text, .axis, .heads .name";
return [...document.querySelectorAll(written)].filter((one) => one.textContent.trim()).map((one) => {
  const style = getComputedStyle(one);
  const ink = luminance(one.namespaceURI.endsWith("svg") ? style.fill : style.color);
  const under = ground(one);
  return [(Math.max(ink, under) + 0.05) / (Math.min(ink, under) + 0.05), one.tagName, one.textContent.slice(0, 20)];
}).sort((a, b) => a[0] - b[0])[0];
"""

# what goes beyond the right edge, but for what lies in something that scrolls
OUTSIDE = """
const scrolls = (one) => one && (/auto|scroll/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
return [...document.querySelectorAll("main *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one.parentElement))
  .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}`);
"""
SMALL = """
return [...document.querySelectorAll("button, nav a")]
  .map((one) => [one.getBoundingClientRect().height, one.textContent])
  .filter(([height]) => height < 40);
"""
# a line that ends inside a part of a name: two letters side by side on different lines, with no joint between them
CUT = """(one) => {
  const parts = [...one.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
  const nodes = parts.filter((node) => /^[a-z0-9_]+[.]?$/.test(node.data));
  const range = document.createRange();
  return nodes.some((node) => (range.selectNodeContents(node), range.getClientRects().length > 1));
}).map((one) => one.textContent)"""


@dataclass(frozen=True)
class Parts(View):
    name: str
    shown: list[Part]

    @property
    def title(self) -> str:
        return self.name

    def parts(self) -> list[Part]:
        return self.shown


@pytest.fixture(scope="module")
def opened(toy_run: Path) -> Opened:
    return Opened.open(toy_run, TEXT, checkpoint="best", device="cpu")


@pytest.fixture(scope="module")
def page(opened: Opened, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "a page 图.html"
    save_page(all_of(opened), file)
    return file


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(request: pytest.FixtureRequest, page: Path) -> Iterator[Browser]:
    with browsing(dark=request.param == "dark") as one:
        one.open(page)
        yield one


@pytest.mark.long_but(every=2)
def test_it_draws_and_nothing_leaves_it(browser: Browser, opened: Opened, tmp_path: Path) -> None:
    assert [one for one in browser.requests() if not one.startswith(("file:", "data:"))] == []
    assert browser.complaints() == []
    counted = "return ['.heads button', '#beam .node', '#rank circle', '.still:not([hidden])']"
    heads, nodes, dots, still = browser.run(counted + ".map((s) => document.querySelectorAll(s).length)")
    assert (heads, still) == (4 * 5, 0)
    assert nodes > 10
    assert dots >= 5 * (2 + 3) - 3
    rows = browser.run("return [...document.querySelectorAll('.queries span')].map((one) => one.textContent)")
    assert rows[0] == "<s>", "cross-attention comes first"
    keys = browser.run("return [...document.querySelectorAll('.keys span')].map((one) => one.textContent)")
    assert keys == opened.trained.translate([TEXT], beam=1)[0].source_pieces
    assert keys[0] == "他"
    assert len(set(pixels(browser.shoot(tmp_path / "shot.png")))) > 50, "an empty picture"


def test_a_click_on_a_head_changes_the_picture(browser: Browser) -> None:
    before, told = browser.run(PIXELS), browser.run(STATUS, FACTS)
    browser.click(".heads button", 2)
    assert browser.run(PIXELS) != before
    assert browser.run(STATUS, FACTS) != told
    assert "entropy" in browser.run(STATUS, FACTS)
    pressed = browser.run("return [...document.querySelectorAll('.heads button')].map((one) => one.ariaPressed)")
    assert (pressed.index("true"), pressed.count("true")) == (2, 1)


def test_the_pointer_and_the_arrow_keys_read_single_weights(browser: Browser) -> None:
    browser.click(".heads button", 0)
    browser.hover(LARGE, 0.99, 0.01)
    told = browser.run(STATUS, SAID)
    assert "looks at" in told
    assert "(row 1, column " in told
    browser.run("document.querySelector('.map canvas').focus()")
    before = browser.run(STATUS, SAID)
    browser.press("down")
    assert "row 2" in browser.run(STATUS, SAID) != before


def test_keys_go_from_head_to_head_and_choose(browser: Browser) -> None:
    browser.run("document.querySelectorAll('.heads button')[0].focus()")
    browser.press("right", "down", "enter")
    assert browser.run("return [...document.querySelectorAll('.heads button')].indexOf(document.activeElement)") == 5
    assert browser.run("return document.activeElement.ariaPressed") == "true"


def test_the_tree_says_paths_that_sum_up(browser: Browser) -> None:
    told = browser.run(STATUS, "#beam .said")
    sums, _, rest = told.partition("  =  ")
    parts = [float(part.split()[-1]) for part in sums.split("  +  ")]
    assert sum(parts) == pytest.approx(float(rest.split(";")[0]), abs=1e-3)
    assert "result 1" in rest
    browser.run("document.querySelector('#beam .node.result').focus()")
    browser.press("down")
    assert browser.run(STATUS, "#beam .said") != told
    browser.press("left")
    assert browser.run(STATUS, "#beam .said").count("  +  ") == told.count("  +  ") - 1


def test_the_page_speaks_both_languages(page: Path) -> None:
    heading, rows = (
        "return document.querySelector('h1').textContent",
        "document.querySelectorAll('#attention td').length",
    )
    with browsing(1280, 900) as one:
        one.open(page)
        english, cells, told = one.run(heading), one.run(f"return {rows}"), one.run(STATUS, SAID)
        figures = one.run("return document.querySelectorAll('figure.live canvas, figure.live svg').length")
        one.click("#language")
        assert one.run("return document.documentElement.lang") == "zh"
        left = one.run(
            "return [...document.querySelectorAll('[data-zh]')].filter((x) => x.textContent !== x.dataset.zh).length"
        )
        assert left == 0
        assert any("\u4e00" <= letter <= "\u9fff" for letter in one.run(STATUS, "#beam .said"))
        assert one.run(f"return {rows}") == cells
        assert one.run("return document.querySelectorAll('figure.live canvas, figure.live svg').length") == figures
        one.click("#language")
        assert (one.run(heading), one.run(STATUS, SAID)) == (english, told)


def test_arcs_and_map_have_the_colours_of_the_one_scale(browser: Browser) -> None:
    browser.click(".heads button", 0)
    stops = DARK if browser.run("return matchMedia('(prefers-color-scheme: dark)').matches") else LIGHT
    scale = {colour(byte / 255, stops) for byte in range(256)}
    painted = browser.run(
        "return ['.map canvas', '.legend canvas'].map((one) => document.querySelector(one))"
        ".map((one) => [...one.getContext('2d').getImageData(0, 0, one.width, one.height).data])"
    )
    for data in painted:
        assert {"#" + bytes(data[at : at + 3]).hex() for at in range(0, len(data), 4)} <= scale
    marks = browser.run("return [...document.querySelectorAll('.legend .ticks span')].map((one) => one.textContent)")
    assert marks == ["0%", "1%", "5%", "10%", "25%", "50%", "100%"]
    lines = browser.run("return [...document.querySelectorAll('.arcs path')].map((one) => one.getAttribute('stroke'))")
    drawn = {"#" + bytes(map(int, line[4:-1].split())).hex() for line in lines}
    assert drawn
    assert drawn <= scale


def test_the_steps_go_forward_and_back_by_key_and_by_slider(browser: Browser, opened: Opened) -> None:
    trace = opened.trained.trace(TEXT)
    chosen = [trace.pieces[step.chosen].replace("▁", " ") for step in trace.steps]
    count, taken = "#steps .count", "#steps .piece.next"
    browser.run("document.querySelector('#steps .steps').focus()")
    browser.press("right", "right")
    assert browser.run(STATUS, count) == f"step 3 of {len(chosen)}"
    assert browser.run(STATUS, taken) == chosen[2]
    assert browser.run(STATUS, "#steps .bars .chosen .name").replace("▁", " ") == chosen[2]
    browser.press("left")
    assert browser.run(STATUS, taken) == chosen[1]
    assert f"{trace.steps[1].bytes_read:,} B" in browser.run(STATUS, "#steps .facts")
    browser.click("#steps .player button", 3)
    assert browser.run(STATUS, count) == f"step {len(chosen)} of {len(chosen)}"
    browser.click("#steps .player button", 0)
    assert browser.run(STATUS, taken) == chosen[0]


def test_words_of_the_trade_explain_themselves(browser: Browser) -> None:
    browser.run("document.querySelector('#attention .facts [data-term=\"loss without\"]').focus()")
    assert browser.run("return document.getElementById('tip').hidden") is False
    assert browser.run(STATUS, "#tip").startswith("loss without: how much the loss rises")
    browser.press("tab")
    assert "divergence" in browser.run(STATUS, "#tip")


def test_a_word_that_means_another_thing_elsewhere_is_not_explained_there(browser: Browser) -> None:
    explained = "return [...document.querySelectorAll(arguments[0])].map((one) => one.dataset.term)"
    assert browser.run(explained, "#attention details [data-term]") == [
        *("type", "share", "entropy", "loss without", "divergence")
    ]
    assert browser.run(explained, "#memory [data-term]") == [], "its shares and measures are others"


def test_names_of_columns_stand_where_their_numbers_do(browser: Browser) -> None:
    apart = browser.run("""
        return [...document.querySelectorAll("#norm table")].flatMap((table) => {
          const [heads, cells] = [table.querySelectorAll("th"), table.querySelector("tbody tr").children];
          const sides = (row) => [...row].map((one) => getComputedStyle(one).textAlign);
          return [sides(heads).join() !== sides(cells).join()];
        });
    """)
    assert set(apart) == {False}


def test_the_tree_says_why_a_hypothesis_died(browser: Browser) -> None:
    lost = "[...document.querySelectorAll('#beam .node.lost')]"
    browser.run(f"{lost}[0].dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    assert browser.run(STATUS, "#beam .fate") == "not kept: the beam was full in step 1"
    browser.click("#beam .check input")
    assert browser.run(f"return {lost}.length") == 0
    browser.click("#beam .check input")
    assert browser.run(f"return {lost}.length") > 0


def test_the_theme_can_be_changed(page: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    with browsing() as one:
        one.open(page)
        before, map_before = one.run(ground), one.run(PIXELS)
        one.click("#theme")
        assert one.run(ground) != before
        assert one.run(PIXELS) != map_before
        one.click("#theme")
        assert (one.run(ground), one.run(PIXELS)) == (before, map_before)


def test_the_window_is_used(browser: Browser) -> None:
    """Figures and tables take more than three quarters of its width, those that stand side by side together."""
    used = browser.run("""
        const boxes = [...document.querySelectorAll(":is(#attention, #steps, #beam) .pair, #rank figure.live")];
        const rights = {};
        for (const box of boxes.map((one) => one.getBoundingClientRect())) {
          const row = Math.round((box.top + scrollY) / 10);
          rights[row] = Math.max(rights[row] ?? 0, box.right);
        }
        return Math.max(...Object.values(rights)) / innerWidth;
    """)
    assert used > 0.75


def test_bars_are_as_long_as_their_amounts(browser: Browser, opened: Opened) -> None:
    ledger = next(part for part in memory_of(opened).parts() if isinstance(part, Bars))
    drawn = browser.run(
        "return [...document.querySelectorAll('#memory td.bar div')].map((one) => one.getBoundingClientRect().width)"
    )
    values = list(ledger.values.values())
    assert [width / max(drawn) for width in drawn] == pytest.approx([each / max(values) for each in values], abs=0.01)
    grounds = "[...document.querySelectorAll('#memory td.bar')].map((one) => getComputedStyle(one).backgroundColor)"
    assert set(browser.run(f"return {grounds}")) == {"rgba(0, 0, 0, 0)"}


def test_hostile_text_stays_text(opened: Opened, tmp_path: Path) -> None:
    hostile = "<img src=x onerror=document.body.dataset.hit=1></script><script>document.body.dataset.hit=2</script>"
    nodes = [dict.fromkeys(("parent", "died")) | {"step": 1, "piece": hostile, "log_prob": -1.0, "score": -1.0}]
    nodes[0] |= {"rank_score": -1.0, "rank": 1, "fate": "finished", "best": 1}
    step = {"input": [hostile], "top": [[hostile, 1.0]], "chosen": hostile, "read": 1, "written": 1}
    step |= dict.fromkeys(("measured_read", "measured_written"))
    weights = torch.tensor([[[1.0]]])
    panel = Panel(hostile, "self", [hostile], [hostile], weights, [hostile], 0)
    view = Parts(
        hostile,
        [
            Note(hostile),
            Table(hostile, (hostile,), [(hostile,)]),
            AttentionPicture(hostile, [panel], [0]),
            BeamTreePicture(hostile, nodes, [0]),
            StepsTable(hostile, (hostile,), [(hostile,)], scene={"steps": [step]}),
            Curves(hostile, hostile, [0.0, 1.0], {hostile: [0.0, 1.0]}),
        ],
    )
    file = tmp_path / "hostile.html"
    save_page(Together(hostile, {"a": view}, {"b": hostile}), file)
    with browsing() as one:
        one.open(file)
        for selector in (".heads button", "#language", "#theme"):
            one.click(selector)
        assert one.run("return [document.body.dataset.hit ?? 'none', document.querySelectorAll('img').length]") == [
            "none",
            0,
        ]
        assert hostile in one.run("return document.body.innerText")


def test_curves_are_switched_off_and_on(browser: Browser) -> None:
    shown = "return getComputedStyle(document.querySelector('#rank .line')).display !== 'none'"
    assert browser.run(shown) is True
    browser.click("#rank .switches button")
    assert browser.run(shown) is False
    browser.click("#rank .switches button")
    assert browser.run(shown) is True


def test_every_picture_has_words_and_they_can_be_read(browser: Browser) -> None:
    silent = browser.run(
        "return [...document.querySelectorAll('svg:not([aria-hidden]), canvas:not([aria-hidden])')]"
        ".filter((one) => !one.getAttribute('aria-label')).length"
    )
    assert silent == 0
    contrast, *what = browser.run(CONTRAST)
    assert contrast >= 4.5, what
    assert browser.complaints() == []


@pytest.mark.long
@pytest.mark.parametrize("width", [360, 500])
def test_a_narrow_screen_does_not_scroll_sideways_and_can_be_used(page: Path, width: int, tmp_path: Path) -> None:
    with browsing(width, 740) as one:
        one.open(page)
        one.shoot(tmp_path / "narrow.png")
        assert one.run("return innerWidth") == width
        assert one.run("return document.documentElement.scrollWidth") <= width
        outside = one.run(OUTSIDE)
        assert outside == [], "parts of the page that are cut off, and do not scroll by themselves"
        if one.run("return matchMedia('(pointer: coarse)').matches"):
            assert one.run(SMALL) == [], "too small for a finger"
        before = one.run(PIXELS)
        one.click(".heads button", 2)
        assert one.run(PIXELS) != before
        cut = one.run("return [...document.querySelectorAll('td, th, .heads .name')].filter(" + CUT)
        assert cut == []


def test_a_request_would_be_seen(tmp_path: Path) -> None:
    """The check above can fail: a page that asks for something elsewhere is caught."""
    bad = tmp_path / "bad.html"
    bad.write_text("<html data-ready=true><img src='https://example.com/a.png'>", encoding="utf-8")
    with browsing() as one:
        one.open(bad)
        assert any("example.com" in address for address in one.requests())
        assert any("ERR_NAME_NOT_RESOLVED" in said for said in one.complaints())


def pixels(picture: bytes) -> bytes:
    """Raw bytes of a PNG's rows: enough to tell an empty one."""
    data, at = b"", 8
    while at < len(picture):
        size, kind = int.from_bytes(picture[at : at + 4]), picture[at + 4 : at + 8]
        data += picture[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return zlib.decompress(data)
