"""``clearhead generate``: prompts in, texts out; one alone appears as it is written."""

import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from clearhead.cli.options import CHECKPOINT, DEVICE, JSON, RUN, print_json, texts_of

LINES = 64  # of stdin that are read before texts are made


@click.command("generate")
@RUN
@click.argument("prompt", required=False)
@click.option("--max-new", type=click.IntRange(1), default=200, show_default=True, help="Most new pieces of a text.")
@click.option("--min-length", type=click.IntRange(0), default=0, help="New pieces before the model may end a text.")
@click.option("--temperature", type=click.FloatRange(0), default=1.0, show_default=True, help="0: the best piece.")
@click.option("--top-k", type=click.IntRange(0), default=0, help="Draw from the k best pieces.  [default: all]")
@click.option(
    "--top-p", type=click.FloatRange(0, 1), default=1.0, help="Draw from the best pieces, of this probability."
)
@click.option(
    "--min-p", type=click.FloatRange(0, 1), default=0.0, help="Draw from pieces with this share of the best one's."
)
@click.option(
    "--typical-p",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Draw from the pieces of the most usual surprise, of this probability.",
)
@click.option(
    "--repetition-penalty",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    help="Divides logits of the pieces in prompt and text.",
)
@click.option("--presence-penalty", type=click.FloatRange(-2, 2), default=0.0, help="Off logits of the text's pieces.")
@click.option("--frequency-penalty", type=click.FloatRange(-2, 2), default=0.0, help="The same, for each occurrence.")
@click.option("--no-repeat-ngram", type=click.IntRange(0), default=0, help="So many pieces in a row never come again.")
@click.option("--bad-word", "bad_words", multiple=True, metavar="WORD", help="No text contains it; may be repeated.")
@click.option("--stop", multiple=True, metavar="STRING", help="A text ends before it; may be repeated.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed, the same text.")
@click.option("--n", type=click.IntRange(1), default=1, show_default=True, help="Texts for each prompt.")
@click.option("--beam", type=click.IntRange(0), default=0, help="Find the most probable texts with so many hypotheses.")
@click.option("--draft", type=click.Path(path_type=Path), metavar="RUN2", help="A smaller run that writes ahead.")
@click.option("--draft-pieces", type=click.IntRange(1), default=4, show_default=True, help="How many pieces it does.")
@click.option(
    "--overlong",
    type=click.Choice(["error", "window", "truncate-left"]),
    default="window",
    show_default=True,
    help="Prompt and --max-new above the context: refuse, slide over the text, or cut the prompt (and say so).",
)
@click.option(
    "--weights",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="int8 is several times faster on a CPU, and nearly the same model; for a GPT alone.",
)
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, prompt: str | None, **options: Any) -> None:
    """Continue PROMPT, or each line of stdin, with the language model in directory RUN: GPT, recurrent or n-gram.

    One text for one PROMPT appears as it is written, the prompt first. Several texts are a line each, with \\n for a
    line break; --json gives one value a line, with pieces and their log-probabilities. An empty prompt begins a text.

    \b
    clearhead generate RUN "ROMEO:"
    clearhead generate RUN --temperature 0.8 --top-p 0.9 --stop "." --n 5 "To be"
    clearhead generate RUN --json < prompts.txt
    """
    from clearhead.config import parse
    from clearhead.decode.sampling import SamplingConfig
    from clearhead.tasks.language_model.prompts import GenerationConfig
    from clearhead.verbs.load import load_language_model

    def picked(kind: Any) -> Any:
        return parse(kind, {field.name: options[field.name] for field in fields(kind)}, source="generate")

    config, settings = picked(GenerationConfig), {"sampling": picked(SamplingConfig)}
    where = {"device": options["device"], "weights": options["weights"]}
    model = load_language_model(run, checkpoint=options["checkpoint"], **where)
    if options["draft"]:
        settings["draft"] = load_language_model(options["draft"], **where)
    if prompt not in (None, "-") and config.n == 1 and not config.beam and not options["as_json"]:
        _stream(model, prompt, config, settings)
        return
    for prompts in texts_of(prompt, LINES, doing="continuing"):
        generations = model.generate(prompts, config, **settings)
        for generation in generations:
            _warn(generation, config)
            if options["as_json"]:
                print_json(asdict(generation))
            else:
                click.echo((generation.prompt + generation.text).replace("\r", r"\r").replace("\n", r"\n"))
        sys.stdout.flush()


def _stream(model: Any, prompt: str, config: Any, settings: dict[str, Any]) -> None:
    """Writes one text as it comes; where Ctrl-C or an error cuts it off, a line break ends it."""
    head = [prompt]

    def show(_: int, part: str) -> None:
        click.echo("".join([*head, part]), nl=False)
        head.clear()

    try:
        (generation,) = model.generate([prompt], config, **settings, on_text=show)
    except BaseException:
        if not head:
            click.echo()
        raise
    click.echo("".join(head))
    _warn(generation, config)


def _warn(generation: Any, config: Any) -> None:
    """Says on stderr what a reader of the text could not see."""
    prompt = f"clearhead: {generation.prompt[:40]!r}"
    if config.stop and generation.reason == "length":
        click.echo(f"{prompt}: no stop string came within --max-new {config.max_new}", err=True)
    if generation.cut_better:
        click.echo(f"{prompt}: --max-new {config.max_new} cut off a better ranked text", err=True)
    if generation.dropped:
        click.echo(f"{prompt}: too long, its first {generation.dropped} pieces were left out", err=True)
    if generation.unknown:
        click.echo(f"{prompt}: {generation.unknown} pieces are not in the model's vocabulary", err=True)
