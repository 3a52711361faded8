"""``clearhead import``: a model in Hugging Face's layout becomes a run."""

from pathlib import Path

import click

from clearhead.cli.options import JSON, print_json, tell


@click.command("import")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/NAME-NNN]")
@click.option("--src", default="", help="Language that a translator reads.  [default: as the folder says]")
@click.option("--tgt", default="", help="Language that a translator writes.  [default: as the folder says]")
@JSON
def command(folder: Path, out: Path | None, src: str, tgt: str, as_json: bool) -> None:
    """Make a run of the model in FOLDER, which has Hugging Face's layout: config.json, weights, tokenizer.

    GPT-2, Llama-shaped models, BERT and its classifiers, Marian; heads of pretraining that a BERT lacks are made anew,
    and named. What ours cannot represent is refused by name; weights and ids stay as they are.

    \b
    clearhead import gpt2/ --out runs/gpt2
    clearhead generate runs/gpt2 "The"
    clearhead train gpt-finetune --from runs/gpt2 --data poems.txt
    clearhead import opus-mt-en-de/ --out runs/en-de --src en --tgt de
    clearhead import bert/ --out runs/bert
    clearhead fill runs/bert "The [MASK] sat down."
    """
    from clearhead.verbs.exchange import import_run

    run, imported = import_run(folder, out, src=src, tgt=tgt)
    for line in imported.lines():
        tell(line, err=True)
    if as_json:
        print_json({"run": str(run), "loaded": len(imported.loaded), "left": imported.left, "new": imported.new})
    else:
        click.echo(str(run))
