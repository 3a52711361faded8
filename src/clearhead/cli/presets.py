"""``clearhead presets``: the recipes that come along."""

import click

from clearhead.cli.options import JSON, print_json, tell
from clearhead.drawing.screen import folded
from clearhead.errors import UsageError, nearest
from clearhead.messages import localized

NAMES = 18  # columns of their names


@click.command("presets")
@click.argument("name", required=False)
@JSON
def command(name: str | None, as_json: bool) -> None:
    """List the recipes that come with clearhead: size, expected time, what for, where their runs can be exported to.

    A preset is a TOML file; copy one, or change it with --set. With NAME that recipe is printed.

    \b
    clearhead presets
    clearhead presets translate-tiny > mine.toml
    """
    from clearhead.runs.recipes import preset_names, preset_refusals, presets_folder, read_recipe, refusal_lines

    if name is not None:
        _show(name, as_json)
        return
    recipes, reasons = {name: read_recipe(name) for name in preset_names()}, preset_refusals()
    if as_json:
        print_json({"folder": str(presets_folder()), "presets": recipes, "not_exported_to": reasons})
        return
    for preset, recipe in recipes.items():
        known = reasons[preset]
        lines = [localized("can be exported as the run that it begins with")]
        if known is not None:
            lines = list(map(localized, refusal_lines(known)))
        for start, line in zip([preset, *[""] * len(lines)], [localized(recipe.get("about", "")), *lines], strict=True):
            click.echo(folded(f"{start:{NAMES}} {line}", NAMES + 1))
    tell()
    tell(f"files: {presets_folder()}")


def _show(name: str, as_json: bool) -> None:
    """Prints the recipe of a preset as its file has it, or its keys as JSON."""
    from clearhead.runs.recipes import preset_names, presets_folder, read_recipe

    if name not in preset_names():
        raise UsageError(f"preset {name!r}: there is none of that name{nearest(name, preset_names())}")
    if as_json:
        print_json(read_recipe(name))
    else:
        click.echo((presets_folder() / f"{name}.toml").read_text(encoding="utf-8"), nl=False)
