"""Closed sets of words: where a word is spelled, so that a new one changes few files; the reference that lists them."""

import ast
from pathlib import Path
from typing import get_args

import pytest

from clearhead.nn.activation import ActivationName
from clearhead.nn.attention import AttentionName
from clearhead.nn.norm import NormName
from clearhead.nn.position import PositionName
from clearhead.optim.build import OptimizerName
from clearhead.optim.schedule import ScheduleName
from clearhead.tasks.family import Task
from tests.architecture import source

SETS = {
    "norm": (NormName, "nn/norm.py"),
    "activation": (ActivationName, "nn/activation.py"),
    "attention": (AttentionName, "nn/attention.py"),
    "position": (PositionName, "nn/position.py"),
    "schedule": (ScheduleName, "optim/schedule.py"),
    "optimizer": (OptimizerName, "optim/build.py"),
}
EVERYDAY = {"none", "layer", "batch"}  # words that say other things elsewhere
DEFAULT, THEIRS, SIZE = "what a config has by default", "what a foreign model has", "a rule about sizes"
RUNTIME = "what another runtime has; it refuses a new word by itself"
OTHERS = dict.fromkeys(("export/ctranslate2.py", "export/gguf.py"), RUNTIME)
ABROAD = {**OTHERS, **dict.fromkeys(("interop/bert.py", "interop/gpt.py", "interop/marian.py"), THEIRS)}
# where a word of a set may stand besides the file that defines it, and why: nowhere that a new word must be added to
ALSO = {
    "norm": {**OTHERS, "export/file.py": RUNTIME, "interop/gpt.py": THEIRS, "models/checks.py": SIZE},
    "activation": {
        **ABROAD,
        "interop/spelling.py": "Hugging Face's words for those that they have",
        "nn/layer.py": DEFAULT,
        "models/bert.py": DEFAULT,
        "models/gpt.py": DEFAULT,
        **dict.fromkeys(
            ("engine/choose.py", *(f"engine/copies/{name}.py" for name in ("int8", "linear", "packed"))),
            "a product with relu behind it, which kernels have",
        ),
        "export/onnx/layers.py": RUNTIME,
        "inspect/curves.py": "softmax has no curve of one number",
    },
    "attention": {
        **ABROAD,
        "export/file.py": RUNTIME,
        "interop/blenderbot.py": THEIRS,
        "nn/layer.py": DEFAULT,
        "models/checks.py": "additive scores have no rotation",
        "models/rnn.py": "attention of a recurrent decoder, a set of its own",
    },
    "position": {
        **ABROAD,
        "interop/blenderbot.py": THEIRS,
        "nn/embedding.py": DEFAULT,
        "models/bert.py": DEFAULT,
        "models/gpt.py": DEFAULT,
        "models/transformer.py": DEFAULT,
        "models/checks.py": SIZE,
        "tasks/warm_start.py": "learned positions alone end where their table does",
    },
    "schedule": {
        "optim/build.py": DEFAULT,
        **dict.fromkeys(("nn/position.py", "interop/rope.py"), "linear scaling of rotary positions, a set of its own"),
    },
    "optimizer": {},
}


def spelled(path: Path) -> set[object]:
    """Returns the texts that are a whole string of a file."""
    return {node.value for node in ast.walk(source.tree(path)) if isinstance(node, ast.Constant)}


@pytest.mark.parametrize("name", SETS)
def test_a_word_is_spelled_where_it_is_defined(name: str) -> None:
    words, home = set(get_args(SETS[name][0])), SETS[name][1]
    files = {
        path.relative_to(source.PACKAGE).as_posix(): used
        for path in source.modules(source.PACKAGE)
        if path.parent.name != "lessons"  # pages about some of the words; a new one needs none of them
        if (used := spelled(path) & words - EVERYDAY)
    }
    assert files.pop(home) == words - EVERYDAY
    assert {place: used for place, used in files.items() if place not in ALSO[name]} == {}
    assert sorted(set(ALSO[name]) - set(files)) == [], "these spell none: take them off the list"


@pytest.mark.parametrize("name", SETS)
def test_no_list_of_all_words_is_kept_by_hand(name: str) -> None:
    """Whoever wants them all asks ``get_args``; a test of the set's own may say what each word is."""
    words, home = set(get_args(SETS[name][0])), SETS[name][1]
    own = {source.PACKAGE / home, source.UNIT_TESTS / Path(home).parent / f"test_{Path(home).name}"}
    kept = [
        f"{source.name(path)}:{node.lineno}"
        for path in {*source.all_python()} - own
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.List | ast.Tuple | ast.Set)
        if words <= {part.value for part in node.elts if isinstance(part, ast.Constant)}
    ]
    assert kept == []


def test_the_reference_of_recipes_is_what_the_code_says() -> None:
    script = source.script("recipe_keys")
    page = script.page()
    for words, _ in SETS.values():
        assert f"One of {', '.join(f'`{word}`' for word in get_args(words))}." in page
    for task in get_args(Task):
        assert f"| `task` | `{task}` |" in page, "its recipe is missing in scripts/recipe_keys"
    reference = (source.ROOT / "docs" / "recipe.md").read_text(encoding="utf-8")
    assert reference == page, "docs/recipe.md is stale: run .venv/bin/python scripts/recipe_keys --write"
    exports = (source.ROOT / "presets" / "exports.json").read_text(encoding="utf-8")
    stale = "presets/exports.json is stale: run .venv/bin/python scripts/recipe_keys --write"
    assert exports == script.exports(), stale
