"""``clearhead export``: the model of a run for other libraries, with a certificate; or a check of such a folder."""

from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, ranged, say, tell
from clearhead.ranges import CountOrZero, MostLoss, Version


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path), required=False)
@click.option(
    "--to",
    "target",
    type=click.Choice(["hf", "onnx", "ctranslate2", "gguf", "file", "all"]),
    help="hf: Hugging Face's layout; onnx: ONNX Runtime's; gguf: llama.cpp's; file: one file that clearhead runs "
    "without PyTorch; all: each that can hold the model, in a folder of its name.",
)
@click.option(
    "--quantize",
    metavar="KIND",
    help="onnx: float32, q8, q4; ctranslate2: float32, float16, bfloat16, int8, int8_float32; gguf: f32, f16, q8_0, "
    "q4_0, q5_0.  [default: float32]",
)
@click.option("--opset", type=ranged(Version), help="onnx: version of the operators, 18 or 23.  [default: 23]")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Text whose valid split both sides are compared on.  [default: random pieces]",
)
@click.option(
    "--certify",
    "lines",
    type=ranged(CountOrZero),
    default=200,
    show_default=True,
    metavar="N",
    help="Lines to compare on; 0 compares nothing.",
)
@click.option(
    "--max-loss",
    type=ranged(MostLoss),
    help="How much worse --quantize may make it: points of BLEU or accuracy, % of perplexity.  [default: 0.5, 0.5, 1]",
)
@click.option(
    "--allow-token-differences",
    "other_pieces",
    is_flag=True,
    help="Keep a folder whose tokenizer cuts some texts into other pieces.",
)
@click.option(
    "--sign", type=click.Path(path_type=Path), metavar="KEY", help="Sign with this key; with --verify: check by it."
)
@click.option("--verify", type=click.Path(path_type=Path), metavar="FOLDER", help="Check a folder that was exported.")
@CHECKPOINT
def command(run: Path | None, **options: Any) -> None:
    """Write the model of the run in directory RUN for other libraries.

    hf writes config.json, model.safetensors and tokenizer.json for AutoTokenizer and AutoModelForCausalLM; of a masked
    language model for AutoModelForPreTraining and AutoModelForMaskedLM; of a classifier for
    AutoModelForSequenceClassification; of a translator for AutoModelForSeq2SeqLM. A model that no class of Hugging
    Face can represent is refused, with the key that it lacks.

    onnx writes graphs for ONNX Runtime, Optimum and transformers.js, with a cache, tokenizer and settings; q8 and q4
    write a smaller form beside them. Every Transformer has one, whatever it is made of, but translators with instance
    norm and language models with dynamic rotary positions.

    ctranslate2 writes the folder that CTranslate2 loads, of any Transformer that it can compute, with the tokenizer;
    gguf one file for llama.cpp, of a language model or an encoder.

    Each folder has a certificate.json: what the other library computes from it, compared with the run. With --data the
    valid split decides, and a folder that differs, or that --quantize has made worse than --max-loss, is not kept.
    --verify checks the digests of a folder, and with RUN compares again.

    \b
    clearhead export RUN --to hf --data DIR --out exported/
    clearhead export RUN --to onnx --quantize q8 --out web/
    clearhead export RUN --to ctranslate2 --quantize int8 --data DIR --out fast/
    clearhead export --verify fast/ RUN --data DIR
    """
    if options["verify"] is not None:
        _verify(run, options)
    else:
        _export(run, options)


def _export(run: Path | None, options: dict[str, Any]) -> None:
    from clearhead.verbs.exports.run import Certify, export_all, export_run

    given = {"RUN": run, "--to": options["target"], "--out": options["out"]}
    if missing := [name for name, value in given.items() if value is None]:
        raise click.UsageError(f"Missing {' and '.join(missing)}.")
    assert run is not None
    certify = Certify(options["data"], options["lines"], options["max_loss"], options["other_pieces"])
    words = {"checkpoint": options["checkpoint"], "certify": certify, "sign": options["sign"], "note": say}
    if options["target"] != "all":
        named = {name: options[name] for name in ("target", "quantize", "opset")}
        click.echo(str(export_run(run, options["out"], **named, **words)))
        return
    for option, name in (("--quantize", "quantize"), ("--opset", "opset")):
        if options[name] is not None:
            raise click.UsageError(f"{option}: must be left out with --to all")
    written = export_all(run, options["out"], **words)
    for result in written.values():
        if isinstance(result, Path):
            click.echo(str(result))
    for target, result in written.items():
        if not isinstance(result, Path):
            say(f"not to {target}: {result}")


def _verify(run: Path | None, options: dict[str, Any]) -> None:
    from clearhead.verbs.exports.verify import verify_folder

    taken = {"target": "--to", "quantize": "--quantize", "opset": "--opset", "out": "--out", "max_loss": "--max-loss"}
    for name, option in taken.items():
        if options[name] is not None:
            raise click.UsageError(f"{option}: must be left out with --verify")
    words = {"checkpoint": options["checkpoint"], "data": options["data"], "sign": options["sign"], "note": say}
    tell(verify_folder(options["verify"], run, **words))
