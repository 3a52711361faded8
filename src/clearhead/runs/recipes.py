"""Recipes: presets, files and overrides, and the resolved recipe that a run keeps."""

from collections.abc import Callable, Iterable
from pathlib import Path

from clearhead.config import WRITER, Tree, merge, parse_overrides, read_toml, write_toml
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.runs.directory import write_text
from clearhead.version import VERSION


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


def save_recipe(run: Path, tree: Tree) -> None:
    """Keeps the resolved recipe in the run, with the version that it is of."""
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
