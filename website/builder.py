"""Builds the site: writes all pages, runs zensical for each language, puts both together and checks the result."""

import html
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import tomlkit

from clearhead.cli.main import VERBS
from clearhead.messages import Language
from website.api_pages import api_pages
from website.gallery import VIEWS, gallery
from website.language import LANGUAGES, ROOT, words
from website.lesson_pages import lesson_pages, untaken
from website.plan import navigation, paths, verb_path
from website.sources import written
from website.verb_pages import verb_pages

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Build:
    """What is built, and where."""

    folder: Path
    """Of the generated pages and the cache."""
    site: Path
    """Of the built site."""
    run: Path | None
    """Trained translator, for lessons and pictures of one."""
    lessons: tuple[str, ...]
    """Lessons that are measured; the pages of the others say how to measure them."""
    short: bool = False
    """Whether lessons are measured in their short form."""
    views: tuple[str, ...] = tuple(VIEWS)
    """What the gallery shows."""
    tell: Callable[[str], None] = click.echo


def write_pages(build: Build) -> None:
    """Writes the Markdown, the pictures and the configuration of both languages."""
    for language in LANGUAGES:
        folder = build.folder / language
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "pages").mkdir(parents=True)
        put(folder / "pages", written(language) | verb_pages(language) | api_pages(language) | untaken(language))
        shutil.copytree(HERE / "assets", folder / "pages" / "assets")
        shutil.copytree(HERE / "overrides", folder / "overrides")
        for picture in (ROOT / "docs").glob("*.[ps][nv]g"):
            shutil.copyfile(picture, folder / "pages" / picture.name)
        build.tell(f"gallery, {language}")
        put(folder / "pages", {"gallery.md": gallery(build.run, folder / "pages", language, build.views)})
    cache = build.folder / "lessons"
    for path, texts in lesson_pages(list(build.lessons), build.run, cache, short=build.short):
        build.tell(path.removesuffix(".md"))
        for language in LANGUAGES:
            put(build.folder / language / "pages", {path: texts[language]})
    for language in LANGUAGES:
        configure(build.folder / language, language)


def put(folder: Path, pages: dict[str, str]) -> None:
    """Writes pages."""
    for path, text in pages.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


def title_of(text: str) -> str:
    """Returns the title of a page, without its Markdown."""
    heading = next(line for line in text.splitlines() if line.startswith("# "))
    return html.unescape(re.sub(r"\\(.)", r"\1", heading.removeprefix("# ").replace("`", "")))


def configure(folder: Path, language: Language) -> None:
    """Writes the configuration of a language: what both share, and what is its own."""
    config: dict[str, Any] = tomllib.loads((HERE / "zensical.toml").read_text(encoding="utf-8"))
    titles = {path: title_of((folder / "pages" / path).read_text(encoding="utf-8")) for path in paths()}
    titles |= {verb_path(verb): verb for verb in VERBS}
    project = config["project"]
    project["nav"] = navigation(language, titles | words(language, "titles"))
    project["site_description"] = words(language)["site"]
    project["theme"]["language"] = language
    for palette, name in zip(project["theme"]["palette"], ("dark", "light"), strict=True):
        palette["toggle"]["name"] = words(language)[name]
    links = {"en": ("English", "" if language == "en" else "../"), "zh": ("中文", "zh/" if language == "en" else "")}
    project["extra"] = {"alternate": [{"lang": of, "name": name, "link": link} for of, (name, link) in links.items()]}
    project["extra"]["polyfills"] = ["assets/iframe-worker.js"]  # in place of one that would come from the network
    handlers = project["plugins"]["mkdocstrings"]
    handlers["handlers"]["python"]["paths"] = [str(ROOT / "src")]
    handlers["locale"] = language
    (folder / "zensical.toml").write_text(tomlkit.dumps(config), encoding="utf-8")


def run_zensical(build: Build) -> None:
    """Builds both languages, and puts the Chinese pages below the English ones.

    Raises:
        subprocess.CalledProcessError: zensical failed; it has said why.
    """
    for language in LANGUAGES:
        folder = build.folder / language
        command = [sys.executable, "-m", "zensical", "build", "--clean", "--config-file", "zensical.toml"]
        subprocess.run(command, cwd=folder, check=True)
    shutil.rmtree(build.site, ignore_errors=True)
    shutil.copytree(build.folder / "en" / "site", build.site)
    shutil.copytree(build.folder / "zh" / "site", build.site / "zh")
