"""``clearhead generate``: prompts in, texts out; one alone appears as it is written."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click

from clearhead.cli.lines import answering, input_and_output, warn_of_file_name
from clearhead.cli.options import CHECKPOINT, DEVICE, ENGINE, JSON, RUN, WEIGHTS, print_json, ranged, tell
from clearhead.errors import DataError
from clearhead.ranges import (
    BeamOrZero,
    Count,
    CountOrZero,
    Penalty,
    Repetition,
    Seed,
    Share,
    ShareAboveZero,
    Temperature,
    Texts,
)

LINES = 64  # of stdin that are read before texts are made


@click.command("generate")
@RUN
@click.argument("prompt", required=False)
@click.option("--max-new", type=ranged(Count), default=200, show_default=True, help="Most new pieces of a text.")
@click.option("--min-length", type=ranged(CountOrZero), default=0, help="New pieces before the model may end a text.")
@click.option("--temperature", type=ranged(Temperature), default=1.0, show_default=True, help="0: the best piece.")
@click.option("--top-k", type=ranged(CountOrZero), default=0, help="Draw from the k best pieces.  [default: all]")
@click.option("--top-p", type=ranged(Share), default=1.0, help="Draw from the best pieces, of this probability.")
@click.option("--min-p", type=ranged(Share), default=0.0, help="Draw from pieces with this share of the best one's.")
@click.option(
    "--typical-p",
    type=ranged(ShareAboveZero),
    default=1.0,
    help="Draw from the pieces of the most usual surprise, of this probability.",
)
@click.option(
    "--repetition-penalty",
    type=ranged(Repetition),
    default=1.0,
    help="Divides logits of the pieces in prompt and text.",
)
@click.option("--presence-penalty", type=ranged(Penalty), default=0.0, help="Subtracted from logits of used pieces.")
@click.option("--frequency-penalty", type=ranged(Penalty), default=0.0, help="The same, for each use of them.")
@click.option("--no-repeat-ngram", type=ranged(CountOrZero), default=0, help="No run of this many pieces occurs twice.")
@click.option("--bad-word", "bad_words", multiple=True, metavar="WORD", help="No text contains it; may be repeated.")
@click.option("--stop", multiple=True, metavar="STRING", help="A text ends before it; may be repeated.")
@click.option("--seed", type=ranged(Seed), default=0, show_default=True, help="The same seed, the same text.")
@click.option("--n", type=ranged(Texts), default=1, show_default=True, help="Texts for each prompt.")
@click.option(
    "--beam", type=ranged(BeamOrZero), default=0, help="Find the most probable texts with so many hypotheses."
)
@click.option("--draft", type=click.Path(path_type=Path), metavar="RUN2", help="A smaller run that writes ahead.")
@click.option("--draft-pieces", type=ranged(Texts), default=4, show_default=True, help="Pieces it writes ahead.")
@click.option(
    "--overlong",
    type=click.Choice(["error", "window", "truncate-left"]),
    default="window",
    show_default=True,
    help="Prompt and --max-new above the context: refuse, slide over the text, or cut the prompt (and say so).",
)
@click.option(
    "--cache",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="How keys and values are held; int8 is a quarter of the memory.",
)
@WEIGHTS
@ENGINE
@input_and_output
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, prompt: str | None, **options: Any) -> None:
    """Continue PROMPT, or each line of stdin, with the language model in directory RUN: GPT, recurrent or n-gram.

    One text for one PROMPT appears as it is written, the prompt first. Several texts are a line each, with \\n for a
    line break; --json gives one value a line, with pieces and their log-probabilities. An empty prompt begins a text;
    one that cannot be continued gives an empty line, and exit code 3 at the end.

    \b
    clearhead generate RUN "ROMEO:"
    clearhead generate RUN --temperature 0.8 --top-p 0.9 --stop "." --n 5 "To be"
    clearhead generate RUN --json < prompts.txt
    """
    from clearhead.engine.loops.sampling import SamplingConfig
    from clearhead.tasks.language_model.prompts import GenerationConfig
    from clearhead.tasks.settings import settled
    from clearhead.verbs.quick import open_language_model

    def picked(kind: Any) -> Any:
        given = {field.name: options[field.name] for field in fields(kind) if field.name in options}
        return settled(kind(**given), source="generate")

    if options["beam"]:
        options["beam"] = max(options["beam"], options["n"])
    config, settings = picked(GenerationConfig), {"sampling": picked(SamplingConfig)}
    where = {"device": options["device"], "weights": options["weights"], "engine": options["engine"]}
    model = open_language_model(run, checkpoint=options["checkpoint"], **where, drafted=bool(options["draft"]))
    if options["draft"]:
        settings["draft"] = _draft(options["draft"], where)
    files = {"source": options["source"], "output": options["output"]}
    streamed = not (options["as_json"] or any(files.values()))
    if prompt not in (None, "-") and config.n == 1 and not config.beam and streamed:
        warn_of_file_name(prompt)
        _stream(model, prompt, config, settings)
        return
    with answering([] if prompt is None else [prompt], size=LINES, doing="continuing", **files) as chunks:
        for chunk in chunks:
            answers = model.generate_each(chunk.texts, config, **settings, on_error=chunk.fail)
            for _, line, generations, error in chunk.with_errors(answers):
                _print(line, generations, error, model.computed if options["as_json"] else None)
                _warn(generations, config)


def _draft(run: Path, where: dict[str, Any]) -> Any:
    """Loads a draft of any kind, such as n-grams, which no engine is asked for."""
    from clearhead.verbs.quick import check_torch

    check_torch(run)
    from clearhead.verbs.load import load_language_model

    return load_language_model(run, **{**where, "engine": "torch" if where["engine"] == "torch" else "auto"})


def _print(prompt: str, generations: list[Any], error: str, engine: str | None) -> None:
    """Prints the texts of a prompt, as JSON if an engine is to be named; an empty line where there are none."""
    if engine and error:
        print_json({"prompt": prompt, "engine": engine, "error": error})
    for generation in generations:
        if engine:
            print_json({**asdict(generation), "engine": engine})
        else:
            click.echo((generation.prompt + generation.text).replace("\r", r"\r").replace("\n", r"\n"))
    if error and not engine:
        click.echo()


def _stream(model: Any, prompt: str, config: Any, settings: dict[str, Any]) -> None:
    """Writes one text as it comes; where Ctrl-C or an error cuts it off, a line break ends it."""
    head = [prompt]

    def show(_: int, part: str) -> None:
        click.echo("".join([*head, part]), nl=False)
        head.clear()

    try:
        (generation,) = model.generate([prompt], config, **settings, on_text=show)
    except BaseException as error:
        if not head or isinstance(error, DataError):
            click.echo()
        raise
    click.echo("".join(head))
    _warn_of(generation, config)


def _warn(generations: list[Any], config: Any) -> None:
    """Says on stderr what a reader of the texts could not see."""
    for generation in generations:
        _warn_of(generation, config)


def _warn_of(generation: Any, config: Any) -> None:
    prompt = f"clearhead: {generation.prompt[:40]!r}"
    if config.stop and generation.reason == "length":
        tell(f"{prompt}: no stop string came within --max-new {config.max_new}", err=True)
    if generation.cut_better:
        tell(f"{prompt}: --max-new {config.max_new} cut off a better ranked text", err=True)
    if generation.dropped:
        tell(f"{prompt}: too long, its first {generation.dropped} pieces were left out", err=True)
    if generation.unknown:
        tell(f"{prompt}: {generation.unknown} pieces are not in the model's vocabulary", err=True)
