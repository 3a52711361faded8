"""``clearhead translate``: lines in, lines out, in order."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from clearhead.cli import documents
from clearhead.cli.lines import Chunk, answering, input_and_output
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
from clearhead.errors import UsageError, attempt_each
from clearhead.ranges import Beam, CountOrZero, Texts


@click.command("translate")
@RUN
@click.argument("text", nargs=-1)
@TO
@FROM
@BEAM
@LENGTH_PENALTY
@click.option("--n-best", type=ranged(Beam), default=1, show_default=True, help="Translations a line.")
@click.option(
    "--limit",
    type=ranged(CountOrZero),
    default=0,
    help="Most pieces of a sentence's translation.  [default: by the pieces of the source, as in the training text]",
)
@click.option("--prefix", default="", help="Every translation begins with this text.")
@click.option("--require", multiple=True, metavar="PHRASE", help="Every translation contains it; may be repeated.")
@click.option("--avoid", multiple=True, metavar="PHRASE", help="No translation contains it; may be repeated.")
@click.option(
    "--glossary",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A source, a tab and a target on each line: where a text has the source, its translation contains the target.",
)
@click.option(
    "--format",
    type=click.Choice(documents.FORMATS),
    help="TEXT is the name of a document, of which the prose is translated and all else kept.",
)
@click.option(
    "--context", default="", metavar="TEXT", help="What stands before the first line, for a run with data.context = 1."
)
@click.option("--alternatives", is_flag=True, help="Show translations that differ in the first piece after the prefix.")
@click.option(
    "--split",
    type=click.Choice(["sentences", "overlong", "never"]),
    default="sentences",
    show_default=True,
    help="Translate a line sentence by sentence, only a line above the model's length, or each line as one.",
)
@click.option(
    "--overlong",
    type=click.Choice(["split", "truncate", "error"]),
    default="split",
    show_default=True,
    help="A sentence above the model's length: split, between clauses if it has them, cut off, or refuse.",
)
@click.option("--alignment", is_flag=True, help="With --json: the source piece each target piece attended to most.")
@click.option(
    "--confidence", is_flag=True, help="Before each translation its expected chrF2, 0 to 100; see clearhead calibrate."
)
@click.option(
    "--buffer",
    type=ranged(Texts),
    default=256,
    show_default=True,
    help="Lines read from stdin before translating.",
)
@click.option(
    "--shortlist",
    is_flag=True,
    help="Write only pieces that the run's shortlist has for the source: faster; see clearhead shortlist.",
)
@WEIGHTS
@ENGINE
@input_and_output
@JSON
@DEVICE
@CHECKPOINT
def command(run: Path, text: tuple[str, ...], **options: Any) -> None:
    """Translate TEXT, or stdin line by line, with the run in directory RUN.

    One line out for every line in, always and in order; an empty line stays empty. A line that cannot be translated
    gives an empty line (with --json an error), and exit code 3 at the end. With --n-best or --alternatives each line
    gives several, rank and score before each; no two read the same. With --confidence the expected chrF2 stands before
    each translation, and a tab. Whole translations go before those that the length limit cut off, which are told on
    stderr. A run that reads the line before each (data.context = 1) has that as it stands here, and a blank line begins
    another document. With --format TEXT names a document (or - stdin), which comes out as it is, in the other language.

    \b
    clearhead translate RUN "我吃了一个苹果。"
    clearhead translate RUN < input.txt > output.txt
    clearhead translate RUN --input input.txt --output output.txt
    clearhead translate RUN --n-best 5 --json "我吃了一个苹果。"
    clearhead translate RUN --to de "A dog runs."
    clearhead translate RUN --format md README.md --output README.de.md
    """
    if options["alternatives"] and any(options[name] for name in ("require", "avoid", "glossary", "limit")):
        raise UsageError("--alternatives: goes with none of --require, --avoid, --glossary and --limit")
    if options["format"]:
        documents.check(options, text)
    options["glossary"] = _glossary(options["glossary"])
    translator = _opened(run, options)
    met = _Met(options["glossary"] is not None)
    if options["format"]:

        def tell_of(chunk: Chunk, number: int, ranked: list[Any]) -> None:
            _warn(chunk, number, ranked, translator.sides)
            met.count(ranked)

        documents.translate_file(translator, text, options, tell_of=tell_of, at_end=met.tell)
        return
    if options["confidence"]:
        _check_confidence(translator, max(options["beam"], options["n_best"]), options["length_penalty"])
    asked = [] if text == ("-",) else [line for argument in text for line in argument.split("\n")]
    where = {"source": options["source"], "output": options["output"]}
    with answering(asked, size=options["buffer"], doing="translating", **where) as chunks:
        before = options["context"]
        for chunk in chunks:
            answers = _answers(translator, chunk, options, _contexts_of(translator, chunk, before))
            before = chunk.texts[-1] if translator.sides.reads_context else ""
            for number, line, ranked, error in chunk.with_errors(answers):
                _warn(chunk, number, ranked, translator.sides)
                _print(line, ranked, error, options, translator)
                met.count(ranked)
        met.tell()


def _opened(run: Path, options: dict[str, Any]) -> Any:
    """Opens the run for what is asked, and says which of the glossary's targets it cannot write."""
    from clearhead.verbs.quick import open_translator

    where = {key: options[key] for key in ("checkpoint", "device", "weights", "engine", "shortlist")}
    if options["format"]:
        translator = documents.open_for(run, where)
    else:
        translator = open_translator(run, **where, looks_inside=options["alternatives"] or options["alignment"])
    translator = translator.toward(options["to"], options["source_language"])
    if options["glossary"] is None:
        return translator
    from clearhead.text.phrase_book import PhraseBook

    if beyond := PhraseBook(translator.tokenizers.tgt).unspelled(options["glossary"].entries):
        few = f"{', '.join(map(repr, beyond[:3]))}{', ...' if len(beyond) > 3 else ''}"
        tell(f"clearhead: glossary: {len(beyond)} targets are not in the model's vocabulary: {few}", err=True)
    return translator


def _check_confidence(translator: Any, beam: int, length_penalty: float) -> None:
    """Checks that the model is calibrated, and says on stderr if that was for another search."""
    from clearhead.tasks.translation.trust.confidence import usable

    made = usable(translator.calibration, translator.step)
    if (made.beam, made.length_penalty) != (beam, length_penalty):
        was = f"beam {made.beam} and length penalty {made.length_penalty:g}"
        tell(f"clearhead: confidence was calibrated with {was}; with others it is less exact", err=True)


def _contexts_of(translator: Any, chunk: Chunk, before: str) -> list[str]:
    """Returns what stands before each line; raises UsageError if there is something, and the model reads none."""
    from clearhead.tasks.translation.documents.preceding import before_each

    return before_each(chunk.texts, before, translator.sides)


def _answers(translator: Any, chunk: Chunk, options: dict[str, Any], contexts: list[str]) -> list[list[Any]]:
    """Returns the translations of each line, best first, and with them what was asked to be told of them."""
    ranked = _translated(translator, chunk, options, contexts)
    if not options["confidence"]:
        return ranked
    return [[translator.rated(translation) for translation in translations] for translations in ranked]


def _translated(translator: Any, chunk: Chunk, options: dict[str, Any], contexts: list[str]) -> list[list[Any]]:
    """Returns the translations of each line, best first; none where a line cannot be translated."""
    from clearhead.decode.hypotheses import SearchConfig

    n_best, penalty = options["n_best"], options["length_penalty"]
    beam = max(options["beam"], n_best)
    settings = {key: options[key] for key in ("prefix", "split", "overlong")}
    if options["alternatives"]:
        settings |= {"beam": beam, "length_penalty": penalty}
        pairs = zip(chunk.texts, contexts, strict=True)
        found = attempt_each(
            lambda pair: translator.alternatives(pair[0], context=pair[1], **settings), pairs, chunk.fail
        )
        return [translations or [] for translations in found]
    settings |= {key: options[key] for key in ("require", "avoid", "glossary")}
    ranked = translator.n_best(
        chunk.texts,
        SearchConfig(beam, n_best, penalty, options["limit"]),
        **settings,
        context=contexts,
        on_error=chunk.fail,
    )
    if not options["alignment"]:
        return list(ranked)
    return [[translator.aligned(translation) for translation in translations] for translations in ranked]


def _print(line: str, ranked: list[Any], error: str, options: dict[str, Any], translator: Any) -> None:
    if options["as_json"]:
        hidden = ("source_ids", "target_ids", "of_parts")
        trees = [{k: v for k, v in asdict(translation).items() if k not in hidden} for translation in ranked]
        tree = {"source": line, "translations": trees, "engine": translator.computed}
        print_json({**tree, **({"error": error} if error else {})})
        return
    sure = [_shown(translation.confidence) if options["confidence"] else "" for translation in ranked]
    if ranked and (options["n_best"] > 1 or options["alternatives"]):
        for rank, translation in enumerate(ranked, 1):
            click.echo(f"{rank}\t{translation.score:.4f}\t{sure[rank - 1]}{translation.text}")
    elif ranked:
        click.echo(sure[0] + ranked[0].text)
    else:
        click.echo(_shown(None) if options["confidence"] else "")


def _shown(confidence: float | None) -> str:
    """Returns a column of the plain output."""
    return "-\t" if confidence is None else f"{confidence:.1f}\t"


def _warn_of_source(chunk: Chunk, number: int, line: str, translation: Any, sides: Any) -> None:
    """Says on stderr that a line can hardly be in the language that the model reads."""
    from clearhead.text.language import other_script

    marks = translation.parts + translation.before
    unknown, count = translation.unknown, len(translation.source_pieces) - marks
    if 2 * unknown > count > 0:
        chunk.say(number, f"{unknown} of its {count} pieces are not in the model's vocabulary")
    elif script := other_script(line, sides.src):
        chunk.say(number, f"most of it is in {script} letters, and the model reads {sides.src.code}")


def _warn(chunk: Chunk, number: int, ranked: list[Any], sides: Any) -> None:
    """Says on stderr what a reader of the plain output could not see."""
    for translation in ranked:
        _warn_of(chunk, number, translation)
    if ranked:
        _warn_of_source(chunk, number, chunk.texts[number], ranked[0], sides)


@dataclass
class _Met:
    """Counts what a glossary asked for, in the best translations."""

    asked_for: bool
    """Whether there is a glossary."""
    lines: int = 0
    asked: int = 0
    unmet: int = 0

    def count(self, ranked: list[Any]) -> None:
        """Counts a line."""
        if ranked and (entries := ranked[0].glossary):
            targets = {target for _, target in entries}
            self.lines, self.asked = self.lines + 1, self.asked + len(targets)
            self.unmet += len(targets & set(ranked[0].unmet))

    def tell(self) -> None:
        """Says on stderr how many were met."""
        if not self.asked_for:
            return
        said = f"{self.asked - self.unmet} of {self.asked} targets in {self.lines} lines were met"
        tell(f"clearhead: glossary: {said}", err=True)


def _glossary(path: Path | None) -> Any:
    """Reads the file of a glossary."""
    if path is None:
        return None
    from clearhead.text.glossary.glossary import Glossary

    return Glossary.read(path)


def _warn_of(chunk: Chunk, number: int, translation: Any) -> None:
    if not translation.complete:
        chunk.say(number, "the translation reached the length limit without an end")
    if translation.cut_better:
        chunk.say(number, "the length limit cut off a better ranked one; see --limit")
    if translation.unmet:
        sources = {target: source for source, target in translation.glossary}
        missing = [f"{each!r} (for {sources[each]!r})" if each in sources else repr(each) for each in translation.unmet]
        chunk.say(number, f"the translation does not contain {', '.join(missing)}")
    if translation.dropped:
        chunk.say(number, f"cut, the last {translation.dropped} pieces were left out")
    if translation.cuts:
        chunk.say(number, f"too long, cut {translation.cuts} times inside of a clause")
