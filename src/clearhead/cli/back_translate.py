"""``clearhead back-translate``: text of one language and its translations, as a corpus to train on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from clearhead.cli.options import (
    BEAM,
    CHECKPOINT,
    DEVICE,
    ENGINE,
    FROM,
    JSON,
    LENGTH_PENALTY,
    RUN,
    TO,
    WEIGHTS,
    print_json,
    ranged,
    tell,
)
from clearhead.errors import UsageError
from clearhead.ranges import CountOrZero, Seed, Share, Temperature, Texts

if TYPE_CHECKING:
    from clearhead.verbs.progress import LineProgress


@click.command("back-translate")
@RUN
@click.argument("mono", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the corpus.")
@click.option(
    "--method",
    type=click.Choice(["beam", "sample", "noise"]),
    default="beam",
    show_default=True,
    help="The best of a search, drawn piece by piece, or the best with noise on its words.",
)
@click.option("--distill", is_flag=True, help="The lines are sources, to train a smaller translator on what RUN says.")
@BEAM
@LENGTH_PENALTY
@click.option("--temperature", type=ranged(Temperature), default=1.0, show_default=True, help="Of --method sample.")
@click.option("--top-k", type=ranged(CountOrZero), default=0, help="Of --method sample: draw from the K best pieces.")
@click.option(
    "--top-p", type=ranged(Share), default=1.0, help="Of --method sample: draw from the best with this probability."
)
@click.option("--delete", type=ranged(Share), default=0.1, show_default=True, help="Noise: share of words left out.")
@click.option("--replace", type=ranged(Share), default=0.1, show_default=True, help="Noise: share that becomes FILLER.")
@click.option("--filler", default="_", show_default=True, help="Noise: what stands for such a word.")
@click.option(
    "--swap", type=ranged(CountOrZero), default=3, show_default=True, help="Noise: places a word moves at the most."
)
@click.option("--seed", type=ranged(Seed), default=0, show_default=True, help="Decides what is drawn for each line.")
@TO
@FROM
@click.option(
    "--buffer", type=ranged(Texts), default=1024, show_default=True, help="Lines that are translated together."
)
@click.option("--shortlist", is_flag=True, help="Search among the pieces of the run's shortlist alone.")
@WEIGHTS
@ENGINE
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, mono: Path, out: Path, **options: Any) -> None:
    """Translate the lines of file MONO with the run in directory RUN, and write both as a corpus.

    RUN translates from the language of MONO: to train a translator into that language on more text, train one of the
    other direction first. The folder gets a file of the lines and one of their translations, line N beside line N,
    always and in order; what a recipe says of it is printed. Stopped at any time, the same command goes on there.

    \b
    clearhead back-translate runs/en-zh news.en --out data/news
    clearhead back-translate runs/en-zh news.en --out data/news --method sample
    clearhead back-translate runs/large text.zh --out data/distilled --distill
    """
    from clearhead.decode.hypotheses import SearchConfig
    from clearhead.engine.loops.sampling import SamplingConfig
    from clearhead.tasks.translation.corpora.noise import NoiseConfig
    from clearhead.verbs.corpora.back_translate import BackTranslation, back_translate

    _check_options(options["method"])
    of = {key: options[key] for key in ("temperature", "top_k", "top_p", "seed")}
    noise = {key: options[key] for key in ("delete", "replace", "filler", "swap", "seed")}
    search = SearchConfig(options["beam"], 1, options["length_penalty"])
    config = BackTranslation(
        options["method"], options["distill"], search, SamplingConfig(**of), NoiseConfig(**noise), options["buffer"]
    )
    screen = _Screen()
    where = {key: options[key] for key in ("checkpoint", "device", "weights", "engine", "shortlist")}
    where |= {"to": options["to"], "source": options["source_language"]}
    try:
        made = back_translate(run, mono, out, config, **where, progress=screen.advance)
    finally:
        screen.close()
    if options["as_json"]:
        print_json({"folder": str(out), **asdict(made.corpus), "table": made.table})
        return
    corpus = made.corpus
    tell(f"{out}: {corpus.lines:,} lines beside their translations, {corpus.empty:,} of them empty", err=True)
    for problem, count in corpus.problems.items():
        tell(f"{count:,} lines: {problem}", err=True)
    click.echo("[[data.corpora]]")
    for key, value in made.table.items():
        click.echo(f"{key} = {json.dumps(value, ensure_ascii=False)}")


METHODS = {
    "beam": ("beam", "noise"),
    "length_penalty": ("beam", "noise"),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "delete": ("noise",),
    "replace": ("noise",),
    "filler": ("noise",),
    "swap": ("noise",),
    "seed": ("sample", "noise"),
}
"""The methods that an option is of."""


def _check_options(method: str) -> None:
    """Refuses options that the method does not look at."""
    context = click.get_current_context()
    for name, methods in METHODS.items():
        if method not in methods and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option, of = f"--{name.replace('_', '-')}", " or ".join(methods)
            raise UsageError(f"{option} is for --method {of}, not {method}")


class _Screen:
    """Says on stderr how far the work is."""

    def __init__(self) -> None:
        self._lines: LineProgress | None = None
        self._done = 0

    def advance(self, done: int, total: int) -> None:
        """Takes how many lines are done; the first time, where the work begins."""
        from clearhead.verbs.progress import LineProgress

        if self._lines is None:
            if 0 < done < total:
                tell(f"goes on behind line {done:,} of {total:,}", err=True)
            self._lines = LineProgress(total, done=done)
        else:
            self._lines.advance(done - self._done)
        self._done = done

    def close(self) -> None:
        """Takes the bar away."""
        if self._lines is not None:
            self._lines.close()
