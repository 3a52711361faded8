"""``clearhead presets``: the recipes that come along."""

import click

from clearhead.cli.options import JSON, print_json


@click.command("presets")
@JSON
def command(as_json: bool) -> None:
    """List the recipes that come with clearhead: size, expected time, what for.

    A preset is a TOML file; copy one, or change it with --set.
    """
    from clearhead.runs.recipes import preset_names, presets_folder, read_recipe

    recipes = {name: read_recipe(name) for name in preset_names()}
    if as_json:
        print_json({"folder": str(presets_folder()), "presets": recipes})
        return
    for name, recipe in recipes.items():
        click.echo(f"{name:18} {recipe.get('about', '')}")
    click.echo(f"\nfiles: {presets_folder()}")
