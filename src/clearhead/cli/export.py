"""``clearhead export``: the model of a run for other libraries."""

import functools
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, RUN


@click.command("export")
@RUN
@click.option(
    "--to",
    "target",
    type=click.Choice(["hf", "onnx", "ctranslate2", "gguf"]),
    required=True,
    help="hf: Hugging Face's layout; onnx: ONNX Runtime's; gguf: llama.cpp's.",
)
@click.option(
    "--quantize",
    metavar="KIND",
    help="onnx: float32, q8, q4; ctranslate2: float32, float16, bfloat16, int8, int8_float32; gguf: f32, f16, q8_0, "
    "q4_0, q5_0.  [default: float32]",
)
@click.option("--opset", type=int, help="onnx: version of the operators, 18 or 23.  [default: 23]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@CHECKPOINT
def command(run: Path, **options: Any) -> None:
    """Write the model of the run in directory RUN for other libraries.

    hf writes config.json, model.safetensors and tokenizer.json for AutoTokenizer and AutoModelForCausalLM; of a masked
    language model for AutoModelForPreTraining and AutoModelForMaskedLM; of a classifier for
    AutoModelForSequenceClassification; of a translator for MarianMTModel. A model that no class of Hugging Face can
    represent is refused, with the key that it lacks.

    onnx writes graphs for ONNX Runtime, Optimum and transformers.js, with a cache, tokenizer and settings; q8 and q4
    write a smaller form beside them. Every Transformer has one, whatever it is made of, but translators with instance
    norm and language models with dynamic rotary positions.

    ctranslate2 writes the folder that CTranslate2 loads, of any Transformer that it can compute, with the tokenizer;
    gguf one file for llama.cpp, of a language model or an encoder.

    \b
    clearhead export RUN --to hf --out exported/
    clearhead export RUN --to onnx --quantize q8 --out web/
    clearhead export RUN --to ctranslate2 --quantize int8 --out fast/
    """
    from clearhead.verbs.exchange import export_run

    click.echo(str(export_run(run, say=functools.partial(click.echo, err=True), **options)))
