"""Recipes: presets, files and overrides, and the resolved recipe that a run keeps."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from clearhead.config import WRITER, Tree, merge, parse_overrides, read_toml, write_toml
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.files import read_small
from clearhead.runs.directory import write_text
from clearhead.version import VERSION

RECIPE = "recipe.toml"
HEAD = "# Written by clearhead, with checksums. After an edit of your own delete the line of recipe.toml below.\n"
MOST_BYTES = 1 << 27  # of a recipe, a tokenizer or labels, as in ``text.tokenizer``
_LINE = rb"^# SHA-256 (recipe\.toml|labels\.json|tokenizer/\w+\.json) ([0-9a-f]{64})\n"
_OWN_LINE = rb"^# SHA-256 recipe\.toml [0-9a-f]{64}\n"


def presets_folder() -> Path:
    """The folder of preset recipes: inside an installed package, beside the sources in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parents[1] / "presets"


def preset_names() -> list[str]:
    """Names of all presets."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


def read_recipe(recipe: str | Path, overrides: Iterable[str] = (), *, start: str = "") -> Tree:
    """Reads a preset by name or a TOML file, and lays ``key=value`` overrides over it.

    Args:
        recipe: the name, or the file.
        overrides: what stands over it.
        start: what the run that it goes on with started from, which need not be said again. Where training starts from
            a trained model, the sizes and the tokenizer of a preset say nothing: those that are left somebody has
            written.

    Raises:
        UsageError: there is no such preset or file.
    """
    path, over = Path(recipe), parse_overrides(overrides)
    preset = str(recipe) in preset_names()
    if preset:
        path = presets_folder() / f"{recipe}.toml"
    elif not path.is_file():
        raise UsageError(f"recipe {str(recipe)!r}: neither a file nor a preset{nearest(str(recipe), preset_names())}")
    tree = {"name": path.stem, **({"start": start} if start else {}), **read_toml(path)}
    return merge(_without_sizes(tree) if preset and (start or over.get("start")) else tree, over)


def _without_sizes(tree: Tree) -> Tree:
    """Returns a recipe without its tokenizer, and of its model the rates of dropout and stochastic depth alone."""
    return {key: value for key, value in tree.items() if key != "tokenizer"} | {
        "model": with_keys(tree.get("model", {}), is_rate)
    }


def with_keys(tree: Tree, wanted: Callable[[str], bool]) -> Tree:
    """Returns the tables of ``tree``, at any depth, with the keys that are ``wanted``."""
    kept = {key: with_keys(value, wanted) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in kept.items() if isinstance(value, dict) or wanted(key)}


def is_rate(key: str) -> bool:
    """Says whether a key of a model is a rate of training, which its weights do not depend on."""
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
    if not os.path.isdir(run):  # Path.is_dir raises where a name is too long
        beside = [path.name for path in run.parent.glob("*") if (path / RECIPE).exists()]
        hint = nearest(run.name, beside) if beside else ""
        raise ModelError(f"run {str(run)!r}: no such directory{hint}")
    if not (run / RECIPE).is_file():
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
        return read_small(path, MOST_BYTES)
    except OSError as error:
        raise ModelError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ModelError(f"{str(path)!r} is damaged: {error}") from error
