"""Where things lie and how long they grow: mirrored tests, line budgets, small functions, honest names."""

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import source

# Modules that have no unit test of their own yet. This list only gets shorter.
UNTESTED: set[str] = set()

# Lines a room may have; a tenth of air above what it had when the rooms were laid out.
BUDGETS = {
    ("cli",): 3700,  # glossaries, documents; with lessons, serve, shortlist, watch, back-translate, filter
    ("serve",): 6050,  # three dialects and a native one, batches of all clients, translations as they grow, the page
    ("lessons",): 6400,  # thirty-eight pages of at most 150 lines, and what they have in common
    ("verbs",): 5800,  # exports with certificate, check, signature; progress; runs followed; corpora made and filtered
    ("tasks",): 10850,  # glossaries, documents; room for a model, limits; corpora made, scored; own code; parts apart
    ("evaluate",): 800,  # what lines count for, for paired intervals; words by their frequency
    ("export",): 3500,  # what runs each format, comparison, certificate; graphs of ONNX, written from the modules
    ("training",): 3410,  # generators, workers that leave signals alone, history never rewritten, budgets, samples
    ("decode",): 2450,  # whole characters; steps that a GPU plays as a graph
    ("interop",): 2300,  # with rotations, QK norm, Blenderbot, generation settings and sentence-transformers
    ("inspect",): 4900,  # with attention in numbers, runs side by side, and what happens in a step
    ("runs",): 1100,  # what a run holds, and a folder of several; where its packed weights are kept
    (
        "engine",
    ): 3750,  # the native engine: build, interface, packing and back, one file, searches that are joined, sampling
    ("checkpoint",): 370,
    ("data",): 4900,  # several corpora: shares, order, pairs, filters; tables and translation memories
    ("models",): 1450,
    (
        "loss",
        "optim",
    ): 790,  # two passes and the divergence between them, chunk by chunk; what a GPU multiplies and compiles
    ("meter",): 740,  # formulas of operators that PyTorch leaves out, and what is said where it lacks a private name
    ("documents",): 1450,  # plain text, Markdown, HTML, XML, subtitles; where markup and breaks go in a translation
    ("text",): 2500,  # glossaries; languages, sentence ends and parts of texts, bytes that are no text
    ("nn",): 1800,  # with the four ways to slow rotary positions down for long texts; caches of fixed shapes
    ("drawing",): 1850,  # pictures: fonts by their tables, all heads, the tree of a beam; pages of modules; colours
}
MOST_FILES = 16  # in a folder; past that it is two rooms
LISTS = {"cli", "lessons"}  # one file an entry: these may be longer
FILE_LINES, FUNCTION_LINES, NESTING = 400, 60, 3
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "managers"}
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def mirror_of(module: Path) -> Path:
    inside = module.relative_to(source.PACKAGE)
    return source.UNIT_TESTS / inside.parent / f"test_{inside.name}"


def mirrored() -> dict[Path, Path]:
    """Returns the test file that each module must have."""
    found = [path for path in source.modules(source.PACKAGE) if path.stem not in {"__init__", "__main__"}]
    return {mirror_of(path): path for path in found}


def test_every_module_has_its_test() -> None:
    missing = {source.name(module) for test, module in mirrored().items() if not test.exists()}
    assert sorted(missing - UNTESTED) == []
    assert sorted(UNTESTED - missing) == [], "these have tests now: take them off UNTESTED"


def test_every_unit_test_has_its_module() -> None:
    tests, known = source.modules(source.UNIT_TESTS), mirrored()
    assert [source.name(path) for path in tests if path.name.startswith("test_") and path not in known] == []


@pytest.mark.parametrize("rooms", BUDGETS, ids="+".join)
def test_line_budget(rooms: tuple[str, ...]) -> None:
    files = [
        path
        for path in source.modules(source.PACKAGE)
        if path.relative_to(source.PACKAGE).parts[0].removesuffix(".py") in rooms
    ]
    used = sum(map(source.lines, files))
    assert used <= BUDGETS[rooms], f"{'+'.join(rooms)}: {used} lines of {BUDGETS[rooms]}"


def test_every_room_has_a_budget() -> None:
    rooms = {path.relative_to(source.PACKAGE).parts[0] for path in source.modules(source.PACKAGE)}
    folders = {room for room in rooms if not room.endswith(".py")}
    assert folders - {room for rooms in BUDGETS for room in rooms} == set()


def test_no_folder_is_crowded() -> None:
    counts: dict[str, int] = {}
    for path in source.modules(source.PACKAGE):
        folder = path.parent.relative_to(source.PACKAGE).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    assert {folder: count for folder, count in counts.items() if count > MOST_FILES and folder not in LISTS} == {}


def test_files_are_short() -> None:
    long = {source.name(path): source.lines(path) for path in source.all_python()}
    assert {path: count for path, count in long.items() if count > FILE_LINES} == {}


def test_functions_are_short() -> None:
    long = [
        f"{source.name(path)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in source.all_python()
        for node in source.functions(path)
        if node.end_lineno is not None and node.end_lineno - node.lineno >= FUNCTION_LINES
    ]
    assert long == []


def test_functions_are_flat() -> None:
    deep = [
        f"{source.name(path)}:{node.lineno} {node.name}: {depth(node)} deep"
        for path in source.all_python()
        for node in source.functions(path)
        if depth(node) > NESTING
    ]
    assert deep == []


def depth(node: ast.AST) -> int:
    """Returns how many blocks stand one inside another, without those of nested functions and classes."""
    deepest = 0
    for child in ast.iter_child_nodes(node):
        if isinstance(child, SCOPES):
            continue
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, depth(child) + (isinstance(child, BLOCKS) and not is_elif))
    return deepest


def test_names_say_something() -> None:
    wrong = [source.name(path) for path in source.all_python() if set(path.stem.split("_")) & FORBIDDEN_NAMES]
    wrong += [source.name(path) for path in source.PACKAGE.rglob("*") if path.is_dir() and path.name in FORBIDDEN_NAMES]
    assert wrong == []


def test_no_path_of_one_machine() -> None:
    pattern = re.compile(r"(?<![\w.~>)}-])/(?:work|root|tmp|home)/")
    wrong = []
    for path in source.kept_files():
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture or an archive
        wrong += [
            f"{source.name(path)}:{number}: {line.strip()[:80]}"
            for number, line in enumerate(content.splitlines(), 1)
            if pattern.search(line)
        ]
    assert wrong == []


def test_no_merge_is_left_half_done() -> None:
    texts = [*source.ROOT.glob("*.md"), *source.ROOT.glob("docs/*.md"), *source.all_python()]
    marks = tuple(f"{mark * 7} " for mark in "<>")
    left = [path.name for path in texts if any(line.startswith(marks) for line in path.read_text("utf-8").splitlines())]
    assert left == []
