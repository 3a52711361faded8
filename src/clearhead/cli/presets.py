"""``clearhead presets``: the recipes that come along."""

import click

from clearhead.cli.options import JSON, print_json


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
        click.echo(f"{name:18} {recipe.get('about', '')}")
        lines = ["can be exported as the run that it begins with"]
        for line in lines if (known := reasons[name]) is None else refusal_lines(known):
            click.echo(f"{'':18} {line}")
    click.echo(f"\nfiles: {presets_folder()}")
