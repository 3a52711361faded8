"""The page of a server in a real browser: it types, clicks, streams and goes by keys; hostile text stays text."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearhead.drawing.colours import DARK, LIGHT, colour
from tests.browser import Browser, browsing, put, texts, until
from tests.serving import Server, serving

TEXT = "这个比萨比那个好吃。我妹妹不骑自行车。"
HOSTILE = "<img src=x onerror=document.body.dataset.hit=1>"
SAFE = "return [document.body.dataset.hit ?? 'none', document.querySelectorAll('img').length]"
OUTSIDE = """
const scrolls = (one) => one && (/auto|scroll/.test(getComputedStyle(one).overflowX) || scrolls(one.parentElement));
return [...document.querySelectorAll("body *")]
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one.parentElement))
  .map((one) => `${one.tagName} ${one.className} ${one.textContent.slice(0, 30)}`);
"""


@pytest.fixture(scope="module")
def server(toy_run: Path, toy_lm_run: Path, toy_masked_run: Path, toy_classifier: Path) -> Iterator[Server]:
    names = [f"mt={toy_run}", f"lm={toy_lm_run}", f"bert={toy_masked_run}", f"cls={toy_classifier}"]
    with serving(*names) as one:
        yield one


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as one:
        yield one


def visit(browser: Browser, server: Server, model: str, tab: str = "") -> None:
    browser.visit(f"{server.url}/#{tab}")
    browser.run("localStorage.clear(); document.documentElement.dataset.ready = 'false'; location.reload()")
    browser.visit(f"{server.url}/#{tab}")
    choose = (
        "const s = document.querySelector('#head select'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))"
    )
    browser.run(choose, model)
    if tab:
        browser.click(f"#tab-{tab}")


def ask(server: Server, name: str, **fields: Any) -> Any:
    return server.post(f"/api/{name}", fields).json


def translated(browser: Browser, server: Server) -> Any:
    """Types the text and waits for the whole translation with its alignment; returns what the server says of it."""
    visit(browser, server, "mt")
    put(browser, "textarea", TEXT)
    (own,) = ask(server, "translate", model="mt", text=TEXT, alignment=True)["translations"]
    until(browser, f"document.querySelectorAll('.word').length === {sum(len(part['words']) for part in own['parts'])}")
    return own


def test_it_translates_as_one_types(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    assert browser.run("return document.querySelector('.target').textContent") == own["text"]
    assert texts(browser, ".notice") == ["translated in 2 parts"]
    status = browser.run("return document.querySelector('.status').textContent")
    pieces = sum(len(part["pieces"]) for part in own["parts"])
    assert f"{pieces} pieces" in status
    assert "pieces/s" in status
    assert "step-120" in status
    assert browser.complaints() == []
    put(browser, "textarea", "")
    until(browser, "!document.querySelector('.word')")


def test_colours_say_how_certain_words_are(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    certain = [word["certainty"] for part in own["parts"] for word in part["words"]]
    shown = browser.run(
        "return [...document.querySelectorAll('.word')].map((one) => getComputedStyle(one).borderBottomColor)"
    )
    for share, drawn in zip(certain, shown, strict=True):
        rgb = [int(part) for part in drawn.removeprefix("rgb(").removesuffix(")").split(", ")]
        assert rgb == list(bytes.fromhex(colour(1 - share)[1:]))
    assert browser.run("return document.querySelector('.translate .legend').checkVisibility()")
    browser.click(".settings .check input")
    assert not browser.run("return document.querySelector('.translate .legend').checkVisibility()")


def test_a_word_shows_where_it_comes_from(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    number, word = next((at, word) for at, word in enumerate(own["parts"][0]["words"]) if word["sources"])
    source, places = own["parts"][0]["source"], own["parts"][0]["source_words"]
    expected = [source[slice(*places[at])] for at in word["sources"]]
    focus = f"document.querySelectorAll('.word')[{number}].focus()"
    lit = "[...document.querySelectorAll('.source.on')].map((one) => one.textContent)"
    assert until(browser, f"{focus}, document.activeElement.blur(), {focus}, {lit}.length ? {lit} : null") == expected


def test_a_click_shows_alternatives_and_the_rest_is_written_anew(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    part, at = own["parts"][0], 2
    prefix = part["text"][: part["words"][at]["start"]].rstrip()
    found = ask(server, "alternatives", model="mt", text=part["source"], prefix=prefix, beam=5)["alternatives"]
    browser.click(".word", at)
    until(browser, "document.querySelector('[role=option]')")
    assert texts(browser, "[role=option] span:last-child") == [
        each["text"][len(prefix) :].lstrip() or "(the end)" for each in found
    ]
    assert browser.run("return document.activeElement.role") == "option"
    browser.press("down", "enter")
    until(browser, "!document.querySelector('.menu')")
    target = browser.run("return document.querySelector('.target').textContent")
    assert target == found[1]["text"] + own["text"][len(part["text"]) :]
    browser.click(".word", 0)
    until(browser, "document.querySelector('[role=option]')")
    browser.press("escape")
    assert texts(browser, ".menu") == []


def test_the_glossary_is_carried_out_kept_and_what_is_unmet_said(browser: Browser, server: Server) -> None:
    translated(browser, server)
    browser.click(".glossary summary")
    browser.click(".glossary button.small")
    put(browser, ".glossary tr:last-child td:nth-child(1) input", "比萨")
    put(browser, ".glossary tr:last-child td:nth-child(3) input", "tea")
    until(browser, "document.querySelector('.target').textContent.includes('tea')")
    browser.visit(f"{server.url}/#")
    browser.run("location.reload()")
    until(browser, "document.querySelector('.glossary td input')?.value === '比萨'")
    put(browser, "textarea", "他喝水。")
    until(browser, "document.querySelectorAll('.word').length > 2")
    assert "tea" not in browser.run("return document.querySelector('.target').textContent"), "its word is not there"


def test_it_writes_stops_and_branches(browser: Browser, server: Server) -> None:
    visit(browser, server, "lm")
    put(browser, "textarea", "我们")
    browser.run("const s = document.querySelector('.slider input'); s.value = 0; s.dispatchEvent(new Event('input'))")
    browser.click("button.main")
    until(browser, "document.querySelector('.status').textContent.includes('·') && !document.querySelector('.stop')")
    events = server.post(
        "/api/generate", {"model": "lm", "prompt": "我们", "temperature": 0, "max_new": 64, "top": 8}
    ).events
    own = "".join(event["text"] for event in events)
    assert browser.run("return document.querySelector('.output').textContent") == "我们" + own
    browser.run("document.querySelectorAll('.wrote')[0].focus()")
    names = texts(browser, ".bars .name")
    assert names == [name for _, name, _ in events[0]["top"]]
    other = next(number for number, (index, _, _) in enumerate(events[0]["top"]) if index != events[0]["id"])
    wanted = events[0]["top"][other][0]
    browser.click(".bars button", other)
    until(browser, f"document.querySelectorAll('.wrote').length > 1 && {DONE}")
    rest = {"model": "lm", "prompt": "我们", "temperature": 0, "max_new": 63, "pieces": [wanted]}
    branch = "".join(event["text"] for event in server.post("/api/generate", rest).events)
    assert browser.run("return document.querySelector('.output').textContent").endswith(branch)
    browser.press("right")
    assert browser.run("return document.querySelector('.facts').textContent").startswith("step ")
    assert browser.complaints() == []


DONE = "!document.querySelector('button.stop')"


def test_a_stream_can_be_stopped(browser: Browser, server: Server) -> None:
    visit(browser, server, "lm")
    sliders = (
        "const s = document.querySelectorAll('.slider input')[5]; s.value = 512; s.dispatchEvent(new Event('input'))"
    )
    browser.run(sliders)
    put(browser, "textarea", "她")
    browser.run("document.querySelector('button.main').click(); document.querySelector('button.main').click()")
    until(browser, DONE)
    count = len(texts(browser, ".wrote"))
    time.sleep(0.5)
    assert len(texts(browser, ".wrote")) == count


def test_it_fills_compares_and_classifies(browser: Browser, server: Server) -> None:
    visit(browser, server, "bert")
    put(browser, "textarea", "He ate [MASK] apple.")
    until(browser, "document.querySelector('.result li')")
    own = ask(server, "fill", model="bert", text="He ate [MASK] apple.")
    assert texts(browser, ".result .name") == [each["piece"] for each in own["masks"][0]]
    browser.click("#tab-embed")
    put(browser, "textarea", "He ate an apple.\nShe likes books.")
    until(browser, "document.querySelectorAll('.result td.number').length === 4")
    cosines = ask(server, "embed", model="bert", texts=["He ate an apple.", "She likes books."])["cosines"]
    assert texts(browser, ".result td.number") == [f"{each:.3f}" for row in cosines for each in row]
    visit(browser, server, "cls")
    put(browser, "textarea", "the film was great")
    until(browser, "document.querySelector('.result .target')")
    assert texts(browser, ".result .target") == ["good"]
    assert browser.complaints() == []


def test_it_looks_inside(browser: Browser, server: Server) -> None:
    visit(browser, server, "mt", "look")
    put(browser, "textarea", TEXT[:10])
    browser.click("button.main")
    until(browser, "document.querySelector('#beam .node')")
    heads, columns, nodes = browser.run(
        "return ['.heads button', '#trace .columns g', '#beam .node'].map((s) => document.querySelectorAll(s).length)"
    )
    trace, tree = (ask(server, name, model="mt", text=TEXT[:10]) for name in ("trace", "beam"))
    assert (heads, columns, nodes) == (20, len(trace["steps"]), len(tree["nodes"]))
    scale = {colour(byte / 255, stops) for byte in range(256) for stops in (LIGHT, DARK)}
    data = browser.run(
        "const c = document.querySelector('.map canvas');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    )
    assert {"#" + bytes(data[at : at + 3]).hex() for at in range(0, len(data), 4)} <= scale
    browser.run("document.querySelector('#trace .steps').focus()")
    browser.press("right")
    assert texts(browser, "#trace .count") == [f"step 2 of {len(trace['steps'])}"]
    assert "loss without" not in browser.run("return document.querySelector('#attention').textContent")
    browser.click(".look .check input")
    until(browser, "document.querySelector('#attention .facts')?.textContent.includes('loss without')")
    assert browser.complaints() == []


HOLD = (
    "const own = window.fetch; window.held = [];"
    "window.fetch = (...all) => new Promise((go) => held.push(() => go(own(...all))))"
)
FREE = "setInterval(() => held.splice(0).forEach((go) => go()), 10)"
"""What the page asks for waits until it is freed."""


def test_a_view_that_is_asked_for_anew_leaves_the_others_to_come(browser: Browser, server: Server) -> None:
    visit(browser, server, "mt", "look")
    put(browser, "textarea", TEXT[:10])
    browser.run(HOLD)
    browser.click("button.main")
    browser.click(".look .check input")
    browser.run(FREE)
    until(browser, "document.querySelector('#attention .facts')?.textContent.includes('loss without')")
    until(browser, "document.querySelector('#trace .columns g') && document.querySelector('#beam .node')")
    until(browser, "!document.querySelector('button.main').disabled")
    assert browser.complaints() == []


@pytest.mark.parametrize(
    ("model", "tab", "text", "shown"),
    [("lm", "write", "我们", ".wrote"), ("mt", "look", "她们在学校。", "#beam .node")],
)
def test_who_comes_back_to_a_tab_finds_what_was_asked_for(
    model: str, tab: str, text: str, shown: str, browser: Browser, server: Server
) -> None:
    visit(browser, server, model, tab)
    put(browser, "textarea", text)
    browser.run(HOLD)
    browser.click("button.main")
    browser.click("#tab-look" if tab == "write" else "#tab-translate")
    browser.click(f"#tab-{tab}")
    browser.run(FREE)
    until(browser, f"document.querySelector('{shown}') && {DONE} && !document.querySelector('button.main').disabled")
    assert browser.complaints() == []


def test_what_was_asked_is_copied(browser: Browser, server: Server) -> None:
    translated(browser, server)
    copied = "window.copied = ''; navigator.clipboard.writeText = async (text) => { window.copied = text }"
    browser.run(copied)
    browser.click(".copies button", 0)
    curl = until(browser, "window.copied.startsWith('curl') && window.copied")
    assert curl.startswith(f"curl '{server.url}/api/translate' -H 'Content-Type: application/json' -d '{{")
    browser.click(".copies button", 1)
    program = until(browser, "window.copied.startsWith('import') && window.copied")
    said: list[str] = []
    exec(program.replace("print(", "said.append("), {"said": said})
    own = ask(server, "translate", model="mt", text=TEXT)
    assert said == [own]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("copy.js:curlOf('fill', {text: \"it's\"}, 'http://a/')", None),
        ("copy.js:pythonValue({a: [true, null, 1.5, 'x\"y']})", '{"a": [True, None, 1.5, "x\\"y"]}'),
        (
            "api.js:eventsOf('data: {\"a\":1}\\n\\n: ping\\n\\ndata: [DONE]\\n\\ndata: {')",
            {"events": [{"a": 1}], "rest": "data: {"},
        ),
        (
            "glossary.js:demands([{source: '比', target: ' a ', avoid: false},"
            " {source: ' ', target: 'b', avoid: false}, {source: '', target: 'c', avoid: true},"
            " {source: 'x ', target: 'd', avoid: true}, {source: 'x', target: ' ', avoid: true}])",
            {"require": ["b"], "avoid": ["c"], "glossary": [["比", "a"]], "avoid_where": [["x", "d"]]},
        ),
        ("curves.js:ticksOf(0.93, 1.31)", [1, 1.1, 1.2, 1.3]),
        ("curves.js:parts([1, null, 2, 3])", [[1], [2, 3]]),
        ("colour.js:mixed(0.25, ['#000000', '#ffffff'])", [128, 128, 128]),
    ],
)
def test_pure_functions(browser: Browser, server: Server, call: str, expected: Any) -> None:
    visit(browser, server, "mt")
    module, _, rest = call.partition(":")
    found = browser.run(f"return import('/page/{module}').then((m) => m.{rest})")
    if expected is None:
        expected = "curl 'http://a/api/fill' -H 'Content-Type: application/json' -d '{\"text\":\"it'\\''s\"}'"
    assert found == expected


def test_hostile_texts_stay_texts(toy_run: Path, toy_masked_run: Path, toy_lm_run: Path, tmp_path: Path) -> None:
    name = HOSTILE
    (tmp_path / name).symlink_to(toy_run)
    with serving(tmp_path / name, f"bert={toy_masked_run}", f"lm={toy_lm_run}") as server, browsing() as browser:
        visit(browser, server, name)
        assert name in browser.run("return document.querySelector('#head').textContent")
        browser.click(".glossary summary")
        browser.click(".glossary button.small")
        put(browser, ".glossary tr:last-child td:nth-child(3) input", HOSTILE)
        put(browser, "textarea", f"他喝水。{HOSTILE}")
        until(browser, "document.querySelectorAll('.word').length > 3")
        until(
            browser,
            "document.querySelector('.target').textContent.includes('onerror') || document.querySelector('.notice')",
        )
        click = "document.querySelector('.menu') ? null : document.querySelectorAll('.word')[1].click()"
        until(browser, f"document.querySelector('[role=option]') || ({click})")  # what comes meanwhile closes it
        visit(browser, server, name, "look")
        put(browser, "textarea", HOSTILE)
        browser.click("button.main")
        until(
            browser,
            "document.querySelectorAll('.look .body > *').length > 3 && !document.querySelector('.main:disabled')",
        )
        visit(browser, server, "bert")
        put(browser, "textarea", f"{HOSTILE} [MASK]")
        until(browser, "document.querySelector('.result .target')")
        assert HOSTILE in browser.run("return document.querySelector('.result').textContent")
        visit(browser, server, "lm")
        put(browser, "textarea", HOSTILE)
        browser.click("button.main")
        until(browser, f"document.querySelector('.wrote') && {DONE}")
        assert browser.run(SAFE) == ["none", 0]
        assert [said for said in browser.complaints() if "Content Security" in said] == []


def test_it_speaks_chinese_and_keeps_what_was_typed(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    browser.click("#language")
    assert texts(browser, "[role=tab]") == ["翻译", "看内部"]
    assert browser.run("return document.querySelector('textarea').value") == TEXT
    assert browser.run("return document.querySelector('.target').textContent") == own["text"]
    assert texts(browser, ".notice") == ["分 2 部分翻译"]
    browser.click("#language")
    assert texts(browser, "[role=tab]") == ["Translate", "Look inside"]


def test_what_is_refused_is_said_in_the_readers_language(browser: Browser, server: Server) -> None:
    own = translated(browser, server)
    browser.click("#language")
    put(browser, "textarea", "我" * 60000)
    until(browser, "document.querySelector('.notice.wrong')")
    assert texts(browser, ".notice.wrong")[0].startswith("文本太长 (")
    assert browser.run("return document.querySelector('.target').textContent") == own["text"]
    assert browser.run("return document.querySelector('.target.old') !== null"), "what stands there is of another text"
    put(browser, "textarea", TEXT)
    until(browser, "!document.querySelector('.wrong') && !document.querySelector('.target.old')")
    browser.click("#language")


def test_a_key_is_asked_for(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a-key-of-many-letters\n")
    with serving(f"mt={toy_run}", options=["--api-key", tmp_path / "keys"]) as server, browsing() as browser:
        browser.visit(f"{server.url}/")
        put(browser, "input[type=password]", "a-key-of-many-letters")
        browser.click(".ask button")
        until(browser, "document.querySelector('.translate')")


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("tab", ["mt", "lm", "look"])
def test_a_phone_shows_all_of_it(server: Server, tab: str, dark: bool) -> None:
    with browsing(390, 844, dark=dark) as one:
        visit(one, server, "mt" if tab == "look" else tab, "look" if tab == "look" else "")
        put(one, "textarea", TEXT[:10])
        if tab != "mt":
            one.click("button.main")
        until(
            one,
            {
                "mt": "document.querySelector('.word')",
                "lm": "document.querySelector('.wrote')",
                "look": "document.querySelector('#beam .node')",
            }[tab],
        )
        assert one.run("return document.documentElement.scrollWidth") <= 390
        assert one.run(OUTSIDE) == []


def test_nothing_is_asked_of_another_host(server: Server) -> None:
    with browsing() as one:
        translated(one, server)
        one.click("#tab-look")
        assert [address for address in one.requests() if not address.startswith((server.url, "data:"))] == []
