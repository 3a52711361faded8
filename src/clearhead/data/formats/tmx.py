"""Translation memories: the pairs of a TMX file, one unit at a time."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from clearhead.data.corpus import open_text
from clearhead.errors import DataError
from clearhead.text.language import read_language

_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_CODE = {"bpt", "ept", "it", "ph", "ut"}  # elements that hold markup of another format, not text
_SPACE = re.compile(r"\s+")


def tmx_pairs(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    """Yields source and target of each translation unit, on one line; a side that a unit has not is empty.

    Of several variants in one language the first counts. A variant's language may be any code of it, with a country.

    Raises:
        DataError: the file cannot be read, or is not TMX; the message has the line.
    """
    codes, units = [_code(src), _code(tgt)], 0
    for unit in _units(path):
        units += 1
        texts = _texts(unit)
        yield texts.get(codes[0], ""), texts.get(codes[1], "")
    if not units:
        raise DataError(f"{path}: not TMX, or without a translation unit (<tu>)")


def _units(path: Path) -> Iterator[ElementTree.Element]:
    """Yields the translation units; one that has been read takes no memory."""
    body = ElementTree.Element("body")
    with open_text(path) as stream:
        events = ElementTree.iterparse(stream, ("start", "end"))
        while found := _next(events, path):
            event, element = found
            if element.tag == "body":
                body = element
            elif event == "end" and element.tag == "tu":
                yield element
                body.clear()


def _next(events: Iterator[tuple[str, ElementTree.Element]], path: Path) -> tuple[str, ElementTree.Element] | None:
    """Returns what comes next in a file; None at its end. Raises DataError where it is broken."""
    try:
        return next(events, None)
    except ElementTree.ParseError as error:
        line, column = error.position
        said = str(error).partition(":")[0]
        raise DataError(f"{path} line {line}: not TMX ({said}, column {column + 1})") from error


def _texts(unit: ElementTree.Element) -> dict[str, str]:
    """Returns the texts of a unit by language."""
    texts: dict[str, str] = {}
    for variant in unit.iter("tuv"):
        segment, language = variant.find("seg"), variant.get(_LANG) or variant.get("lang") or ""
        if segment is not None and language:
            texts.setdefault(_code(language), _SPACE.sub(" ", _text(segment)).strip())
    return texts


def _text(element: ElementTree.Element) -> str:
    """Returns the text of a segment without the markup that is in it."""
    own = "" if element.tag in _CODE else element.text or ""
    return own + "".join(_text(child) + (child.tail or "") for child in element)


def _code(language: str) -> str:
    """Returns a language without its country."""
    return read_language(language).code.split("-")[0]
