"""Reads recipes from presets, files and overrides; saves and loads the resolved recipe of a run."""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from clearhead.config import WRITER, Tree, merge, parse_overrides, read_toml, write_toml
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.files import MOST_OF_TEXT, read_small
from clearhead.runs.directory import listed, runs_in, write_text
from clearhead.version import VERSION

RECIPE = "recipe.toml"
EXPORTS = "exports.json"
Refusals = dict[str, str | None]
"""For each format why a run cannot be exported to it; None if it can."""
HEAD = "# Written by clearhead, with checksums. After an edit of your own delete the line of recipe.toml below.\n"
_LINE = rb"^# SHA-256 (recipe\.toml|labels\.json|tokenizer/\w+\.json) ([0-9a-f]{64})\n"
_OWN_LINE = rb"^# SHA-256 recipe\.toml [0-9a-f]{64}\n"


def presets_folder() -> Path:
    """Returns the folder of the preset recipes: in the package if it is installed, beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parents[1] / "presets"


def preset_names() -> list[str]:
    """Returns the names of all presets, sorted."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


def preset_refusals() -> dict[str, Refusals | None]:
    """Returns the refusals of each preset; None where the run that it begins with decides. Written by recipe_keys."""
    refusals: dict[str, Refusals | None] = json.loads((presets_folder() / EXPORTS).read_text(encoding="utf-8"))
    return refusals


def refusal_lines(refusals: Refusals) -> list[str]:
    """Returns refusals as text: a line of formats that take the model, and a line for each that does not."""
    taken = [target for target, reason in refusals.items() if reason is None]
    lines = [f"can be exported to: {', '.join(taken) or 'none'}"]
    return lines + [f"not to {target}: {reason}" for target, reason in refusals.items() if reason]


def read_recipe(recipe: str | Path, overrides: Iterable[str] = (), *, start: str = "") -> Tree:
    """Reads a preset or a TOML file, and replaces the values that ``overrides`` gives.

    If training starts from a trained model, which decides on sizes and tokenizer, a preset's own are left out.

    Args:
        recipe: name of the preset, or path of the file.
        overrides: ``key=value`` strings.
        start: the ``start`` of the run that is resumed, so that it need not be given again.

    Raises:
        UsageError: there is no such preset or file, or an override is not ``key=value``.
    """
    path, changes = Path(recipe), parse_overrides(overrides)
    is_preset = str(recipe) in preset_names()
    if is_preset:
        path = presets_folder() / f"{recipe}.toml"
    elif not path.is_file():
        raise UsageError(f"recipe {str(recipe)!r}: neither a file nor a preset{nearest(str(recipe), preset_names())}")
    tree = {"name": path.stem, **({"start": start} if start else {}), **read_toml(path)}
    tree = merge(_without_sizes(tree) if is_preset and (start or changes.get("start")) else tree, changes)
    if "own" in tree:
        raise UsageError(
            f"recipe {str(recipe)!r}: own: is written by clearhead.train, from its arguments model and modules"
        )
    return tree


def _without_sizes(tree: Tree) -> Tree:
    """Returns the recipe without its tokenizer, the sizes of its model, and how long a text may be for these sizes.

    Rates of dropout and the like stay.
    """
    data = {key: value for key, value in tree.get("data", {}).items() if key != "max_len"}
    kept = {key: value for key, value in tree.items() if key not in ("tokenizer", "data")}
    return {**kept, **({"data": data} if data else {}), "model": with_keys(tree.get("model", {}), is_rate)}


def with_keys(tree: Tree, wanted: Callable[[str], bool]) -> Tree:
    """Returns ``tree`` with only the keys for which ``wanted`` is true, in tables at any depth."""
    kept = {key: with_keys(value, wanted) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in kept.items() if isinstance(value, dict) or wanted(key)}


def is_rate(key: str) -> bool:
    """Returns whether a key of ``model`` is a rate that matters in training only, whatever the weights."""
    return key.endswith("dropout") or key == "stochastic_depth"


def save_recipe(run: Path, tree: Tree, beside: Mapping[str, bytes] | None = None) -> None:
    """Keeps the resolved recipe in the run, with the version that it is of and the checksums of the run's small files.

    Args:
        run: its directory.
        tree: the recipe.
        beside: content of tokenizers and labels by path in the run.
    """
    lines = [_line(name, content) for name, content in (beside or {}).items()]
    text = "".join([HEAD, *lines, write_toml({WRITER: VERSION, **tree})])
    write_text(run / RECIPE, HEAD + _line(RECIPE, text.encode()) + text.removeprefix(HEAD))


def _line(name: str, content: bytes) -> str:
    return f"# SHA-256 {name} {_sha256(content)}\n"


def load_recipe(run: Path) -> Tree:
    """Reads the resolved recipe of a run, and checks it against the checksum in it if there is one.

    Raises:
        ModelError: ``run`` is not a run directory, or its recipe is not as it was written.
    """
    if os.path.isfile(run):
        raise ModelError(f"run {str(run)!r} is a file, and this takes a run directory")
    if not os.path.isdir(run):  # Path.is_dir raises where a name is too long
        beside = [path.name for path in run.parent.glob("*") if (path / RECIPE).exists()]
        hint = nearest(run.name, beside) if beside else ""
        raise ModelError(f"run {str(run)!r}: no such directory{hint}")
    if not (run / RECIPE).is_file():
        if inside := runs_in(run):
            raise ModelError(f"{str(run)!r} is a folder of runs, and this takes one of them: {listed(inside)}")
        raise ModelError(f"run {str(run)!r} is not a run directory: it has no recipe.toml")
    content = _read(run / RECIPE).replace(b"\r\n", b"\n")
    digest = _digests(content).get(RECIPE)
    if digest is not None and _sha256(re.sub(_OWN_LINE, b"", content, count=1, flags=re.MULTILINE)) != digest:
        raise ModelError(
            f"{str(run / RECIPE)!r} is not as clearhead wrote it: if you have edited it, delete its line "
            f"'# SHA-256 {RECIPE} ...', otherwise it is damaged{_copy(run, RECIPE)}"
        )
    return read_toml(run / RECIPE)


def check_beside(run: Path) -> None:
    """Checks the tokenizers and labels of a run against the checksums in its recipe, as far as it has them.

    Raises:
        ModelError: one is damaged, or that of another run.
    """
    if not (run / RECIPE).is_file():
        return
    for name, digest in _digests(_read(run / RECIPE)).items():
        path = run / name
        if name != RECIPE and path.is_file() and _sha256(_read(path)) != digest:
            copy = _copy(run, name, digest)
            raise ModelError(f"{str(path)!r} does not match the checksum in {str(run / RECIPE)!r}: damaged{copy}")


def _copy(run: Path, name: str, digest: str = "") -> str:
    """Returns the part of an error that offers the copy of a file in a checkpoint; of this digest, if one is given."""
    copies = [path for path in sorted(run.glob(f"checkpoints/*/{name}")) if path.is_file()]
    whole = [path for path in copies if not digest or _sha256(_read(path)) == digest]
    return f"; {str(whole[-1])!r} is a copy of it" if whole else ""


def _digests(content: bytes) -> dict[str, str]:
    """Returns the checksums that a recipe holds, by path in the run."""
    return {name.decode(): digest.decode() for name, digest in re.findall(_LINE, content, re.MULTILINE)}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return read_small(path, MOST_OF_TEXT)
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is damaged: {error}") from error
