"""What one family costs the others: the figures of scripts/measure_structure, which only get smaller."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture import source

MOST_ARMS = 20  # over families, outside the families' own files
MOST_NAMING_MASKED = 11  # with verbs/load.py, whose overloads say what each task loads, and two of the server
MATCH = """
match {subject}:
    case {first}:
        pass
    case _:
        pass
"""


def tree_with(folder: Path, files: dict[str, str]) -> Path:
    """Returns a checkout whose package is ``files``, by their place in it."""
    for place, text in files.items():
        path = folder / "src" / "clearhead" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_families_are_asked_about_in_few_places() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/measure_structure", "--json"],
        cwd=source.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(done.stdout)
    assert figures["arms over families"] <= MOST_ARMS, figures["where"]
    assert figures["files that name the masked family"] <= MOST_NAMING_MASKED, figures["which"]
    assert figures["lines"] == sum(map(source.lines, source.modules(source.PACKAGE)))


@pytest.mark.parametrize(
    ("place", "text", "arms", "beside_default"),
    [
        ("verbs/a.py", MATCH.format(subject="x", first='"masked" | None'), 2, 2),
        ("verbs/a.py", MATCH.format(subject="x", first="MaskedModel()"), 2, 2),
        ("verbs/a.py", MATCH.format(subject="task", first="other"), 2, 2),
        ("verbs/a.py", MATCH.format(subject="x", first='"other"'), 0, 0),
        ("cli/a.py", "isinstance(x, MaskedModel | int)", 1, 0),
        ("cli/a.py", "isinstance(x, Pair)", 1, 0),
        ("cli/a.py", "isinstance(x, MaskedBatch)", 1, 0),
        ("cli/a.py", "assert isinstance(x, MaskedModel)", 0, 0),
        ("cli/a.py", "x == 'masked' or x not in ('ngram', 'classify')", 2, 0),
        ("cli/a.py", "f('masked') == 3", 0, 0),
        ("decode/a.py", "isinstance(x, MaskedModel)", 0, 0),
        ("tasks/masked/a.py", "isinstance(x, MaskedModel)", 0, 0),
        ("tasks/masked_job.py", "isinstance(x, MaskedModel)", 0, 0),
        ("tasks/catalog.py", "isinstance(x, MaskedModel)", 1, 0),
    ],
)
def test_what_an_arm_is(tmp_path: Path, place: str, text: str, arms: int, beside_default: int) -> None:
    own = "class MaskedModel: ...\nPair = MaskedModel | int\n"
    tree = tree_with(
        tmp_path, {"tasks/masked/model.py": own, "data/masked.py": "class MaskedBatch: ...\n", place: text}
    )
    figures = source.script("measure_structure").measure(tree)
    assert figures["arms over families"] == arms
    assert figures["  in a match with case _"] == beside_default


def test_who_names_the_masked_family(tmp_path: Path) -> None:
    files = {
        "__init__.py": "from clearhead.tasks.masked.model import MaskedModel",
        "tasks/masked/model.py": "word = 'masked'",
        "text/special.py": "word = 'masked'",
        "verbs/a.py": "from clearhead.tasks.masked.model import MaskedModel",
        "verbs/b.py": "word = 'masked'",
        "verbs/c.py": "from clearhead.data.masked import MaskedBatch",
    }
    assert source.script("measure_structure").measure(tree_with(tmp_path, files))["  which"] == [
        "verbs/a.py",
        "verbs/b.py",
    ]


def test_the_other_figures(tmp_path: Path) -> None:
    counted = (
        "import clearhead.data.b\nB = 1\ndef f():\n    found = 1\n    assert found\n    return [one for one in found]\n"
    )
    files = {"cli/a.py": counted, "cli/c.py": "", "data/b.py": "B: int = 2\n_X = 1", "text/a.py": "_X = 2"}
    figures = source.script("measure_structure").measure(tree_with(tmp_path, files))
    assert (figures["lines"], figures["files"], figures["rooms"], figures["arrows between rooms"]) == (9, 4, 3, 1)
    assert (figures["largest folder"], figures["biggest room"]) == ("data", "cli")
    assert (figures["  own imports a file there"], figures["  own imports a file elsewhere"]) == (0.5, 0.0)
    assert figures["  names"] == ["B"]
    assert [figures[f"functions with a local {name}"] for name in ("found", "one")] == [1, 1]
    assert figures["asserts"] == 1
