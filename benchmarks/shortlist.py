"""Scores translators with and without a lexical shortlist, and measures how fast they write.

    shortlist.py score RUN DATA [--split valid] [--best 10 20 50] [--frequent 100] [--beam 5] [--tokenize none]
    shortlist.py speed RUN [RUN ...] --data DATA [--lines 320] [--batches 1 16 64] [--beams 1 5] [--repeats 5]

``score`` learns a shortlist for each pair of sizes from the training text, without keeping it, and prints BLEU of a
split as a Markdown table. ``speed`` takes the shortlists that the runs keep. A repeat is one search of the first lines
of the valid split in batches of so many, by one thread; what is compared is interleaved. Every line gets as many pieces
as its reference has, and one for the end mark, which itself is forbidden, so that all cases write as much. Encoding and
decoding of text are outside, the choice of pieces for each source is inside. Prints medians of pieces per second.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from clearhead.data.corpus import read_parallel
from clearhead.data.store import prepare
from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.native import native_search
from clearhead.engine.rows import NativeModel
from clearhead.evaluate.translation import score_translations
from clearhead.runs.cache import cache_folder
from clearhead.tasks.translation.scoring import read_lines, split_files
from clearhead.tasks.translation.search.lexicon import learned_from
from clearhead.tasks.translation.search.native import native_search_of
from clearhead.tasks.translation.search.shortlist import Shortlist, read_shortlist, wanted
from clearhead.tasks.translation.translator import Translator


def score(asked: argparse.Namespace) -> None:
    """Prints BLEU of a split without a shortlist, and with some."""
    translator = Translator.load(asked.run, device="cpu", weights=asked.weights[0])
    recipe, both = translator.recipe, translator.tokenizers
    files = read_parallel(asked.data, stem=recipe.data.train, src=recipe.src, tgt=recipe.tgt)
    store = prepare(files, src=both.src, tgt=both.tgt, config=recipe.data, cache_dir=cache_folder() / "data")
    lines = read_lines(split_files(translator, asked.data, asked.split))
    print(
        "| weights | best | frequent | pieces | of training text | BLEU | other lines |\n|---|---|---|---|---|---|---|"
    )
    for weights in asked.weights:
        plain = Translator.load(asked.run, device="cpu", weights=weights)
        whole, bleu = translated(plain, lines, asked)
        print(f"| {weights} | all | | {both.tgt.vocab_size} | 100 % | {bleu:.2f} | |", flush=True)
        for best, frequent in itertools.product(asked.best, asked.frequent):
            learned = learned_from(store, both, best=best, frequent=frequent)
            found, bleu = translated(replace(plain, shortlist=learned.shortlist), lines, asked)
            other = sum(one != two for one, two in zip(found, whole, strict=True))
            covered = f"{100 * learned.covered:.2f} %"
            print(
                f"| {weights} | {best} | {frequent} | {learned.size:.0f} | {covered} | {bleu:.2f} | {other} |",
                flush=True,
            )


def translated(
    translator: Translator, lines: list[tuple[str, str]], asked: argparse.Namespace
) -> tuple[list[str], float]:
    """Returns the translations of the lines, and their BLEU."""
    found = translator.translate([src for src, _ in lines], beam=asked.beam, split="overlong")
    texts, tokenize = [each.text for each in found], asked.tokenize or translator.recipe.bleu_tokenize
    return texts, score_translations(texts, [tgt for _, tgt in lines], tokenize=tokenize).bleu


def speed(asked: argparse.Namespace) -> None:
    """Prints pieces per second of each run, kind of weights and shortlist, for each batch and beam."""
    loaded = {
        (run.name, weights): Translator.load(run, device="cpu", weights=weights)
        for run, weights in itertools.product(asked.runs, asked.weights)
    }
    kept = {
        run.name: wanted(read_shortlist(run, loaded[run.name, asked.weights[0]].tokenizers), run) for run in asked.runs
    }
    print("| beam | batch | run | weights | all pieces | shortlist | ratio |\n|---|---|---|---|---|---|---|")
    for beam, batch in itertools.product(asked.beams, asked.batches):
        cases = {
            (*key, short): repeat_of(translator, asked, beam, batch, kept[key[0]] if short else None)
            for key, translator in loaded.items()
            for short in (False, True)
        }
        rates: dict[tuple[str, str, bool], list[float]] = {case: [] for case in cases}
        for _, (case, repeat) in itertools.product(range(asked.repeats + 1), cases.items()):
            rates[case].append(repeat())
        for run, weights in loaded:
            plain, short = (statistics.median(rates[run, weights, each][1:]) for each in (False, True))
            print(
                f"| {beam} | {batch} | {run} | {weights} | {plain:,.0f} | {short:,.0f} | {short / plain:.2f} |",
                flush=True,
            )


def repeat_of(
    translator: Translator, asked: argparse.Namespace, beam: int, batch: int, shortlist: Shortlist | None
) -> Callable[[], float]:
    """Returns a function that does one repeat, and returns target pieces per second."""
    lines = read_lines(split_files(translator, asked.data, "valid"), asked.lines if batch > 1 else asked.lines // 4)
    both, model, config = translator.tokenizers, translator.writer, SearchConfig(beam)
    assert isinstance(model, NativeModel)
    sources = both.src.encode_batch([src for src, _ in lines])
    limits = [len(ids) + 1 for ids in both.tgt.encode_batch([tgt for _, tgt in lines])]
    plain = native_search_of(both.tgt, config)
    plain = replace(plain, forbidden=[*plain.forbidden, both.tgt.ids.eos])

    def repeat() -> float:
        started = time.perf_counter()
        for first in range(0, len(sources), batch):
            own = sources[first : first + batch]
            lists = shortlist.choose(own) if shortlist else []
            ended = [[*source, both.src.ids.eos] for source in own]
            native_search(model, ended, config, plain, limits=limits[first : first + batch], shortlists=lists)
        return sum(limits) / (time.perf_counter() - started)

    return repeat


def main() -> None:
    """Measures what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(required=True)
    scores, speeds = ways.add_parser("score"), ways.add_parser("speed")
    scores.set_defaults(measure=score)
    scores.add_argument("run", type=Path)
    scores.add_argument("data", type=Path)
    scores.add_argument("--split", default="valid")
    scores.add_argument("--best", type=int, nargs="+", default=[10, 20, 50])
    scores.add_argument("--frequent", type=int, nargs="+", default=[100])
    scores.add_argument("--beam", type=int, default=5)
    scores.add_argument("--tokenize", help="sacreBLEU's tokenizer; without it the recipe's")
    scores.add_argument("--weights", nargs="+", default=["float32"])
    speeds.set_defaults(measure=speed)
    speeds.add_argument("runs", type=Path, nargs="+")
    speeds.add_argument("--data", type=Path, required=True)
    speeds.add_argument("--lines", type=int, default=320, help="at batch 1 a quarter of them")
    speeds.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    speeds.add_argument("--beams", type=int, nargs="+", default=[1, 5])
    speeds.add_argument("--weights", nargs="+", default=["float32", "int8"])
    speeds.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    asked.measure(asked)


if __name__ == "__main__":
    main()
