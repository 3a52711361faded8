"""The pages that a person wrote, as the site has them: links that lead to other pages of it, or to the repository."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

from clearhead.cli.main import VERBS
from clearhead.lessons.catalog import LESSONS
from clearhead.messages import Language
from website.language import REPOSITORY, ROOT, words
from website.plan import OF_THE_PROJECT, SOURCES, WRITTEN, lesson_path, verb_path

LINK = re.compile(r"(!?\[[^\]]*\]\()([^)\s]+)(\))")
FENCE = re.compile(r"^ *(```|~~~)")
ITEM = re.compile(r"^ *(?:[-*]|\d+\.) ")
CHINESE = "\u2e80-\u9fff\uff00-\uffef“”"
BLOB = f"{REPOSITORY}/blob/main/"
RAW = f"{REPOSITORY.replace('github.com', 'raw.githubusercontent.com')}/main/"


def file_of(path: str, language: Language) -> Path:
    """Returns the file of the project that a page comes from, whether it is there or not."""
    name = SOURCES[language].get(path) or OF_THE_PROJECT.get(path)
    folder = "docs" if language == "en" else "docs/zh"
    return ROOT / (name or f"{folder}/{path}")


def written(language: Language) -> dict[str, str]:
    """Returns the Markdown of each page that a person wrote; English with a note where there is no Chinese yet."""
    pages = {}
    for path in (*WRITTEN, *OF_THE_PROJECT):
        file, note = file_of(path, language), ""
        if not file.is_file():
            file = file_of(path, "en")
        if language == "zh" and (path in OF_THE_PROJECT or file == file_of(path, "en")):
            note = words(language)["english_only"]
        pages[path] = prepared(file, path, language, note)
    return pages


def prepared(file: Path, path: str, language: Language, note: str = "") -> str:
    """Returns the Markdown of a file as the page at ``path``, with a note below its title if there is one to make."""
    lines = list(spaced(joined(file.read_text(encoding="utf-8").splitlines())))
    if note:
        at = next(number for number, line in enumerate(lines) if line.startswith("# "))
        lines[at + 1 : at + 1] = ["", f"*{note}*", ""]
    lines = list(stacked(lines)) if path == "recipe.md" else lines
    base = file.relative_to(ROOT).as_posix()
    return "\n".join(outside_of_code(lines, lambda line: linked(relinked(line, base, path, language), path))) + "\n"


def joined(lines: Iterable[str]) -> Iterator[str]:
    """Yields lines, of Chinese paragraphs one each: a browser makes a space of an end of line between characters."""
    in_code, held = False, None
    for line in lines:
        in_code ^= bool(FENCE.match(line))
        if held is not None and not in_code and goes_on(held, line):
            held += line.lstrip()
            continue
        if held is not None:
            yield held
        held = line
    if held is not None:
        yield held


def goes_on(before: str, line: str) -> bool:
    """Whether a line goes on in Chinese where the one before it ends."""
    if before.startswith("#") or not re.match(r" *[^\s#|*\->]", line):
        return False
    between_characters = re.search(f"[{CHINESE}]$", before) and re.match(f" *[{CHINESE}]", line)
    return bool(between_characters or (re.search("[，。；：、！？）]$", before) and not ITEM.match(line)))


def spaced(lines: Iterable[str]) -> Iterator[str]:
    """Yields lines with an empty one before a list, which Python-Markdown wants and other Markdown does not."""
    in_code, before = False, ""
    for line in lines:
        in_code ^= bool(FENCE.match(line))
        if not in_code and ITEM.match(line) and before.strip() and not ITEM.match(before) and before[0] not in " #":
            yield ""
        yield line
        before = line


def linked(line: str, path: str) -> str:
    """Returns a row of a table of verbs or lessons with a link to the page of its own that each of them has."""
    of = {"cli.md": (VERBS, verb_path), "lessons.md": (LESSONS, lesson_path)}
    row = re.match(r"\| (`([a-z-]+)`) \|", line)
    if row is None or path not in of or row[2] not in of[path][0]:
        return line
    return line.replace(row[1], f"[{row[1]}]({of[path][1](row[2])})", 1)


def stacked(lines: Iterable[str]) -> Iterator[str]:
    """Yields lines with each table in an element whose rows become blocks on a narrow screen."""
    before = ""
    for line in [*lines, ""]:
        if line.startswith("|") and not before.startswith("|"):
            yield from ("<div class=stack markdown>", "")
        if before.startswith("|") and not line.startswith("|"):
            yield from ("", "</div>")
        yield line
        before = line


def outside_of_code(lines: Iterable[str], change: Callable[[str], str]) -> Iterator[str]:
    """Yields lines, changed where they are not in a block of code."""
    in_code = False
    for line in lines:
        in_code ^= bool(FENCE.match(line))
        yield line if in_code else change(line)


def relinked(line: str, base: str, path: str, language: Language) -> str:
    """Returns a line whose links go where the site has their target.

    Args:
        line: Markdown.
        base: path of its file in the project.
        path: of its page.
        language: of the page.
    """
    return LINK.sub(lambda found: found[1] + target_of(found[2], base, path, language) + found[3], line)


def target_of(target: str, base: str, path: str, language: Language) -> str:
    """Returns the target of a link: a page or a picture of the site, or a file of the repository."""
    for address in (BLOB, RAW):
        if target.startswith(address):  # the README names its own repository, for readers elsewhere
            target, base = target.removeprefix(address), "README.md"
    if re.match(r"[a-z]+:|#", target):
        return target
    name, _, anchor = target.partition("#")
    file = os.path.normpath(PurePosixPath(base).parent / name)
    page = page_of(file)
    if page is None:
        return f"{BLOB}{file}"
    here = PurePosixPath(path).parent
    if {file, base} == {"README.md", "README.zh-CN.md"}:
        other = "zh/index.html" if language == "en" else "../index.html"
        return os.path.relpath(other, here)
    return os.path.relpath(page, here) + (f"#{anchor}" if anchor else "")


def page_of(file: str) -> str | None:
    """Returns where the site has a file of the project; nothing if it does not."""
    named = {source: page for pages in (*SOURCES.values(), OF_THE_PROJECT) for page, source in pages.items()}
    if file in named:
        return named[file]
    name = re.sub(r"^docs/(zh/)?", "", file)
    if name != file and (name in WRITTEN or PurePosixPath(name).suffix in {".png", ".svg"}):
        return name
    return None
