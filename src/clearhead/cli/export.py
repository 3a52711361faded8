"""``clearhead export``: the model of a run for other libraries."""

from pathlib import Path

import click

from clearhead.cli.options import CHECKPOINT, RUN


@click.command("export")
@RUN
@click.option("--to", "target", type=click.Choice(["hf"]), required=True, help="hf: Hugging Face's layout.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@CHECKPOINT
def command(run: Path, target: str, out: Path, checkpoint: str) -> None:
    """Write the model of the run in directory RUN for other libraries.

    hf writes config.json, model.safetensors and tokenizer.json for AutoTokenizer and AutoModelForCausalLM; of a masked
    language model for AutoModelForPreTraining and AutoModelForMaskedLM; of a classifier for
    AutoModelForSequenceClassification; of a translator for MarianMTModel. A model that no class of Hugging Face can
    represent is refused, with the key that it lacks.

    \b
    clearhead export RUN --to hf --out exported/
    """
    from clearhead.verbs.exchange import export_run

    assert target == "hf"
    click.echo(str(export_run(run, out, checkpoint=checkpoint)))
