"""Reads recipes from presets, files and overrides; saves and loads the resolved recipe of a run."""

from collections.abc import Callable, Iterable
from pathlib import Path

from clearhead.config import WRITER, Tree, merge, parse_overrides, read_toml, write_toml
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.runs.directory import write_text
from clearhead.version import VERSION


def presets_folder() -> Path:
    """Returns the folder of the preset recipes: in the package if it is installed, beside ``src`` in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "presets"
    return inside if inside.is_dir() else package.parents[1] / "presets"


def preset_names() -> list[str]:
    """Returns the names of all presets, sorted."""
    return sorted(path.stem for path in presets_folder().glob("*.toml"))


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
    return merge(_without_sizes(tree) if is_preset and (start or changes.get("start")) else tree, changes)


def _without_sizes(tree: Tree) -> Tree:
    """Returns the recipe without its tokenizer and the sizes of its model; rates of dropout and the like stay."""
    return {key: value for key, value in tree.items() if key != "tokenizer"} | {
        "model": with_keys(tree.get("model", {}), is_rate)
    }


def with_keys(tree: Tree, wanted: Callable[[str], bool]) -> Tree:
    """Returns ``tree`` with only the keys for which ``wanted`` is true, in tables at any depth."""
    kept = {key: with_keys(value, wanted) if isinstance(value, dict) else value for key, value in tree.items()}
    return {key: value for key, value in kept.items() if isinstance(value, dict) or wanted(key)}


def is_rate(key: str) -> bool:
    """Returns whether a key of ``model`` is a rate that matters in training only, whatever the weights."""
    return key.endswith("dropout") or key == "stochastic_depth"


def save_recipe(run: Path, tree: Tree) -> None:
    """Writes the resolved recipe to the run, with the version of clearhead that wrote it."""
    write_text(run / "recipe.toml", write_toml({WRITER: VERSION, **tree}))


def load_recipe(run: Path) -> Tree:
    """Reads the resolved recipe of a run.

    Raises:
        ModelError: ``run`` is not a run directory.
    """
    if not run.is_dir():
        beside = [path.name for path in run.parent.glob("*") if (path / "recipe.toml").exists()]
        hint = nearest(run.name, beside) if beside else ""
        raise ModelError(f"run {str(run)!r}: no such directory{hint}")
    if not (run / "recipe.toml").is_file():
        raise ModelError(f"run {str(run)!r} is not a run directory: it has no recipe.toml")
    return read_toml(run / "recipe.toml")
