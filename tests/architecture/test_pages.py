"""What the pages say about the code is true: layers, files that an addition touches, verbs, views, paths."""

import re
import tomllib
from pathlib import Path

import pytest

from clearhead.cli.inspect import LINES
from clearhead.cli.main import VERBS
from clearhead.lessons.catalog import LESSONS
from clearhead.lessons.lesson import Lesson
from clearhead.version import VERSION
from tests.architecture import source
from tests.architecture.test_words import SETS

PAGES = [*source.ROOT.glob("*.md"), *(source.ROOT / "docs").glob("*.md")]
OF_SETS = {
    "a norm": "norm",
    "an activation": "activation",
    "an attention variant": "attention",
    "a position": "position",
    "a schedule": "schedule",
    "an optimizer": "optimizer",
}
TICKED = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")
REPOSITORY = "https://github.com/clearhead/clearhead"
OURS = (f"{REPOSITORY}/blob/main/", "https://raw.githubusercontent.com/clearhead/clearhead/main/")
"""Where pages and images of the repository are seen from elsewhere."""


def text_of(page: str) -> str:
    return (source.ROOT / page).read_text(encoding="utf-8")


def rows(page: str, head: str) -> list[list[str]]:
    """Returns the cells of the table below the line that begins with ``head``."""
    lines = text_of(page).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(head))
    table: list[list[str]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return table


def additions() -> dict[str, tuple[int, list[str]]]:
    """Returns, of each thing that may be added, the number of files that the table gives and the paths it names."""
    table = rows("CONTRIBUTING.md", "| you add ")
    names = {what: TICKED.findall(which) for what, _, which in table}
    paths = {
        what: [name for name in ticked if name.endswith((".py", ".toml", ".md", ".txt", ".po"))]
        for what, ticked in names.items()
    }
    return {what: (int(count), paths[what]) for what, count, _ in table}


def place_of(path: str) -> Path:
    """Returns the file that a path of the table means."""
    if path.split("/", maxsplit=1)[0] in {"docs", "tests", "presets"}:
        return source.ROOT / path
    return (source.UNIT_TESTS if Path(path).name.startswith("test_") else source.PACKAGE) / path


def test_rooms_stand_in_their_layers() -> None:
    settings = tomllib.loads(text_of("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in settings if contract["id"] == "layers")
    here = {path.stem for path in source.PACKAGE.iterdir()}
    expected = [{room.strip(" ()") for room in layer.split("|")} & here for layer in layers]
    table = rows("ARCHITECTURE.md", "| layer ")
    assert [set(TICKED.findall(rooms)) for _, rooms, _ in table] == [rooms for rooms in expected if rooms]
    assert [int(number) for number, _, _ in table] == [*range(len(table), 0, -1)]


def test_an_addition_touches_the_files_of_its_row() -> None:
    wrong = {what: paths for what, (count, paths) in additions().items() if count != len(paths)}
    assert wrong == {}, "the number beside these is another"
    whole = [path for _, paths in additions().values() for path in paths if "<" not in path]
    assert [path for path in whole if not place_of(path).is_file()] == []
    folders = [place_of(path).parent for _, paths in additions().values() for path in paths]
    assert [folder for folder in folders if not folder.is_dir()] == []


@pytest.mark.parametrize("what", OF_SETS)
def test_a_word_touches_its_file_and_its_test(what: str) -> None:
    """That it need not be spelled elsewhere is what ``test_words`` shows."""
    home = Path(SETS[OF_SETS[what]][1])
    assert additions()[what][1] == [home.as_posix(), (home.parent / f"test_{home.name}").as_posix()]


def test_every_verb_has_its_row() -> None:
    assert sorted(verb.strip("`") for verb, _ in rows("docs/cli.md", "| verb ")) == sorted(VERBS)


def test_every_lesson_has_its_row() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows("docs/lessons.md", "| lesson ")}
    assert listed == {name: Lesson(name).words("en")["title"] for name in LESSONS}


def test_every_view_has_its_name_on_the_page() -> None:
    page = text_of("docs/inspect.md")
    assert [view for view in LINES if f"`{view}`" not in page and view != "all"] == []


def test_files_and_modules_that_pages_name_are_there() -> None:
    """Paths from the root, and modules of rooms: ``room.module``, unless that is a key of recipes."""
    folders = {"src", "tests", "scripts", "presets", "benchmarks", "docs"}
    rooms = {path.name for path in source.PACKAGE.iterdir() if path.is_dir()}
    wrong, keys = [], text_of("docs/recipe.md")
    for page in PAGES:
        for name in TICKED.findall(page.read_text(encoding="utf-8")):
            path = name.split()[0] if name.split() else ""
            if path.split("/")[0] in folders and "/" in path and not re.search(r"[<*{]|[A-Z]{3}", path):
                wrong += [f"{page.name}: {name}"] * (not (source.ROOT / path).exists())
            room, _, module = name.removeprefix("clearhead.").partition(".")
            if room in rooms and re.fullmatch(r"[a-z_]+", module) and f"`{name}`" not in keys:
                folder = source.PACKAGE / room
                is_there = (folder / f"{module}.py").exists() or module in source.text(folder / "__init__.py")
                wrong += [f"{page.name}: {name}"] * (not is_there)
    assert wrong == []


def own_files(targets: list[str]) -> list[str]:
    """Returns the files of this repository that absolute links name, without anchors."""
    return [
        target.removeprefix(place).partition("#")[0] for target in targets for place in OURS if target.startswith(place)
    ]


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_a_page_for_elsewhere_has_absolute_links_to_files_that_are_there(page: str) -> None:
    """PyPI shows the text of README.md alone, where a relative link or image leads nowhere."""
    targets = LINK.findall(text_of(page))
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    files = own_files(targets)
    assert len(files) >= 15
    assert [file for file in files if not (source.ROOT / file).exists()] == []
    images = re.findall(r"!\[[^]]*\]\(([^)]+)\)", text_of(page))
    assert images
    assert [image for image in images if not image.startswith(OURS[1])] == [], "a page of GitHub is no image"
    strange = [target for target in targets if "clearhead/clearhead" in target and not target.startswith(OURS)]
    assert strange == []


def test_what_is_said_of_the_project_names_one_repository() -> None:
    project = tomllib.loads(text_of("pyproject.toml"))["project"]
    assert set(project["urls"]) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    assert [url for url in project["urls"].values() if not url.startswith(REPOSITORY)] == []
    branch = re.compile(rf"{REPOSITORY}/(?:blob|tree)/main/(.+)")
    files = [match[1] for url in project["urls"].values() if (match := branch.fullmatch(url))]
    assert files
    assert [file for file in files if not (source.ROOT / file).exists()] == []
    citation = dict(re.findall(r"^([a-z-]+): (.+)$", text_of("CITATION.cff"), re.M))
    assert (citation["repository-code"], citation["license"]) == (REPOSITORY, project["license"])
    assert citation["version"] == VERSION
    assert f"  - name: {project['authors'][0]['name']}\n" in text_of("CITATION.cff")


def test_every_extra_is_explained_where_one_installs() -> None:
    extras = set(tomllib.loads(text_of("pyproject.toml"))["project"]["optional-dependencies"]) - {"bench"}
    for page, head in (("README.md", "| extra |"), ("README.zh-CN.md", "| 可选组件 |")):
        assert {name for names, _ in rows(page, head) for name in TICKED.findall(names)} == extras
