"""``clearhead export``: the model of a run for other libraries."""

from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, RUN


@click.command("export")
@RUN
@click.option(
    "--to",
    "target",
    type=click.Choice(["hf", "ctranslate2", "gguf"]),
    required=True,
    help="hf: Hugging Face's layout; gguf: llama.cpp's.",
)
@click.option(
    "--quantize",
    metavar="KIND",
    help="ctranslate2: float32, float16, bfloat16, int8, int8_float32; gguf: f32, f16, q8_0, q4_0, q5_0.  [default: "
    "float32]",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@CHECKPOINT
def command(run: Path, **options: Any) -> None:
    """Write the model of the run in directory RUN for other libraries.

    hf writes config.json, model.safetensors and tokenizer.json for AutoTokenizer and AutoModelForCausalLM; of a masked
    language model for AutoModelForPreTraining and AutoModelForMaskedLM; of a classifier for
    AutoModelForSequenceClassification; of a translator for MarianMTModel. A model that no class of Hugging Face can
    represent is refused, with the key that it lacks.

    ctranslate2 writes the folder that CTranslate2 loads, of any Transformer that it can compute, with the tokenizer;
    gguf one file for llama.cpp, of a language model or an encoder.

    \b
    clearhead export RUN --to hf --out exported/
    clearhead export RUN --to ctranslate2 --quantize int8 --out fast/
    """
    from clearhead.verbs.exports.run import export_run

    click.echo(str(export_run(run, **options)))
