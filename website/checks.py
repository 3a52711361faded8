"""What may be wrong with a built site: links, anchors and pictures that lead nowhere, pages that need the network."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("source", "src"), ("iframe", "src"), ("video", "src")}
"""Attributes whose address a browser loads by itself."""
LOADING = {"stylesheet", "preload", "modulepreload", "preconnect", "dns-prefetch", "icon", "manifest"}
"""Relations of a ``link`` whose address a browser loads by itself."""
MARKDOWN = re.compile(r"\\[|<*_]|^\s*(?:[-*] \S|#{1,6} \S|\|.*\|$|```)|\]\(\S+\.(?:md|html)\b")


class Reader(HTMLParser):
    """Collects what a page refers to and what it can be referred to by."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.left: list[str] = []
        """Text that looks as if its Markdown had not been read."""
        self._inside: list[str] = []
        self._begins = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes links, loaded files and names of places."""
        given = {name: value or "" for name, value in attrs}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag in {"a", "area"} and "href" in given:
            self.links.append(given["href"])
        self.loaded += [given[name] for of, name in LOADED if of == tag and name in given]
        if tag == "link" and LOADING & set(given.get("rel", "").split()):
            self.loaded.append(given.get("href", ""))
        if tag in {"p", "pre", "code", "script", "style", "td", "th"}:
            self._inside.append(tag)
        self._begins = tag in {"p", "td", "th"}

    def handle_endtag(self, tag: str) -> None:
        """See ``handle_starttag``."""
        if tag in self._inside:
            while self._inside.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        """Notes text of paragraphs that is Markdown still."""
        if self._inside and self._inside[-1] in {"p", "td", "th"}:
            lines = data.splitlines()
            self.left += [line for line in lines[0 if self._begins else 1 :] if MARKDOWN.search(line)]
        self._begins = False


def read(page: Path) -> Reader:
    """Reads a page."""
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


def faults(site: Path) -> list[str]:
    """Returns what is wrong with a site, a line each; the site may lie below any address."""
    pages = {page.resolve(): read(page) for page in sorted(site.rglob("*.html"))}
    wrong: list[str] = []
    for page, reader in pages.items():
        name = page.relative_to(site.resolve()).as_posix()
        if name.endswith("404.html"):  # which is served for any address, and so has absolute ones
            continue
        wrong += [f"{name}: {what}" for what in of_page(page, reader, pages, site.resolve())]
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        loaded = re.findall(r"(?:@import\s+|url\()[\"']?(https?:)?//[^\"')]+", text)
        wrong += [f"{style.relative_to(site)}: loads from the network"] * bool(loaded)
    return wrong


def of_page(page: Path, reader: Reader, pages: dict[Path, Reader], site: Path) -> Iterator[str]:
    """Yields what is wrong with a page."""
    for address in reader.loaded:
        if urlsplit(address).scheme in {"http", "https"} or address.startswith("//"):
            yield f"loads {address} from the network"
        elif urlsplit(address).scheme != "data" and not place_of(page, address).is_file():
            yield f"loads {address}, which is not there"
    for address in dict.fromkeys(reader.links):
        parts = urlsplit(address)
        if parts.scheme or parts.netloc:
            continue
        target = place_of(page, address) if parts.path else page
        if not target.is_relative_to(site) or not target.exists():
            yield f"links to {address}, which is not there"
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
            yield f"links to {address}: the page has no such place"
    yield from (f"Markdown that was not read: {line.strip()[:60]!r}" for line in reader.left)


def place_of(page: Path, address: str) -> Path:
    """Returns the file that a relative address of a page means."""
    target = (page.parent / unquote(urlsplit(address).path)).resolve()
    return target / "index.html" if target.is_dir() else target
