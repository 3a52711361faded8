"""``clearhead presets``: the recipes that come along."""

import click

from clearhead.cli.options import JSON, print_json, tell
from clearhead.drawing.screen import folded
from clearhead.messages import localized

NAMES = 18  # columns of their names


@click.command("presets")
@JSON
def command(as_json: bool) -> None:
    """List the recipes that come with clearhead: size, expected time, what for, where their runs can be exported to.

    A preset is a TOML file; copy one, or change it with --set.
    """
    from clearhead.runs.recipes import preset_names, preset_refusals, presets_folder, read_recipe, refusal_lines

    recipes, reasons = {name: read_recipe(name) for name in preset_names()}, preset_refusals()
    if as_json:
        print_json({"folder": str(presets_folder()), "presets": recipes, "not_exported_to": reasons})
        return
    for name, recipe in recipes.items():
        known = reasons[name]
        lines = [localized("can be exported as the run that it begins with")]
        if known is not None:
            lines = list(map(localized, refusal_lines(known)))
        for start, line in zip([name, *[""] * len(lines)], [localized(recipe.get("about", "")), *lines], strict=True):
            click.echo(folded(f"{start:{NAMES}} {line}", NAMES + 1))
    tell()
    tell(f"files: {presets_folder()}")
