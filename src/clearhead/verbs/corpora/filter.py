"""A parallel corpus without the lines that a run's recipe drops, or that its model does not believe in."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from clearhead.config import as_tree, merge, parse, parse_overrides
from clearhead.data.corpora.report import EXAMPLES, CorpusReport
from clearhead.data.corpus import DataConfig, ParallelFiles, check_unchanged, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.errors import DataError, UsageError
from clearhead.files import read_json, sync, write_whole
from clearhead.progress import Progress, silent
from clearhead.runs.cache import scored_folder
from clearhead.runs.lock import locked
from clearhead.tasks.translation.corpora.made import RECORD, STEM, SUFFIX
from clearhead.tasks.translation.corpora.reading import scored_pairs, stem_of
from clearhead.tasks.translation.corpora.scores import LineScores, dual_scores, line_scores
from clearhead.tasks.translation.translator import Translator

Mask = Bool[ndarray, " lines"]


@dataclass(frozen=True)
class Filtered:
    """What became of the lines of a corpus."""

    report: CorpusReport
    least: float | None
    """The score of the worst line that was kept; None where no line was scored."""

    def lines(self) -> list[str]:
        """Returns the report as text, line by line, for a terminal."""
        said = [] if self.least is None else [f"  the worst score kept is {self.least:.3f}"]
        return [*self.report.lines(), *said]


def filter_corpus(
    run: Path,
    data: Path,
    out: Path | None = None,
    *,
    split: str = "train",
    keep: float = 1.0,
    back: Path | None = None,
    overrides: Iterable[str] = (),
    progress: Progress = silent,
    **where: Any,
) -> Filtered:
    """Says which lines of a corpus stay, and writes them.

    Args:
        run: a translator in the direction of the corpus; its recipe and its vocabulary say what is dropped.
        data: folder of the corpus.
        out: folder for what stays, which must not be there; None: nothing is written.
        split: stem of the files; train, valid and test stand for what the recipe says.
        keep: share of the lines that stay, the best by the mean log-probability of a target piece.
        back: a translator in the other direction; the score is then of both, see ``dual_scores``.
        overrides: ``key=value`` strings over the recipe's table ``data``, such as ``data.max_ratio=3``.
        progress: called with (pairs scored, pairs in all) of each run that scores.
        where: checkpoint and device, see ``Translator.load``; and ``to`` and ``source``, see ``Translator.toward``.

    Raises:
        UsageError: an argument is wrong, or ``out`` is there, or a corpus of that name that is not finished.
        ModelError: a run is no translator.
        DataError: the text cannot be used, or nothing stays.
    """
    if out is not None:
        _check_free(out)
    if back is not None and keep == 1:
        raise UsageError(f"--back {str(back)!r}: is for scores, say how many lines stay with --keep")
    way = {key: where.pop(key, "") for key in ("to", "source")}
    translator = Translator.load(run, **where).toward(**way)
    files = _files(translator, data, split)
    config, stamps = _config(translator, overrides), files.scan().stamps
    store = _encoded(translator, files, config)
    kept, report = _present(store), store.report
    least = None
    if keep < 1:
        scores = line_scores(translator, store, report.read, progress)
        if back is not None:
            scores = dual_scores(scores, _back_scores(translator, back, files, report.read, progress))
        kept, least = best_lines(scores, kept, keep)
        report = _without(report, store, kept)
    check_unchanged(stamps)
    if out is not None:
        _write(out, files, kept, report)
    return Filtered(report, least)


def _check_free(out: Path) -> None:
    """Checks that the folder is not there, nor one that ``back-translate`` would go on with and name so."""
    if out.exists():
        raise UsageError(f"--out {str(out)!r}: exists; name another folder")
    place = out.with_name(out.name + SUFFIX)
    if (place / RECORD).is_file() and "settings" in read_json(place / RECORD):
        raise UsageError(
            f"--out {str(out)!r}: back-translate has begun {place.name!r}; finish it, delete it, or name another folder"
        )


def best_lines(scores: LineScores, kept: Mask, share: float) -> tuple[Mask, float]:
    """Returns the best lines of those that are ``kept``, and the score of the worst of them; of equal ones the first.

    Raises:
        DataError: none is left.
    """
    count = int(share * int(kept.sum()))
    ranked = np.where(kept, scores, -np.inf)
    best = np.argsort(-ranked, kind="stable")[:count]
    best = best[np.isfinite(ranked[best])]
    if not len(best):
        raise DataError(f"--keep {share:g}: of {int(kept.sum()):,} lines none is left")
    chosen = np.zeros(len(kept), dtype=np.bool_)
    chosen[best] = True
    return chosen, float(ranked[best[-1]])


def _files(translator: Translator, data: Path, split: str) -> ParallelFiles:
    recipe, sides = translator.recipe, translator.sides
    one = len(recipe.directions) == 1
    src, tgt = (recipe.src, recipe.tgt) if one else (sides.src.code, sides.tgt.code)
    return read_parallel(data, stem=stem_of(recipe, split), src=src, tgt=tgt)


def _config(translator: Translator, overrides: Iterable[str]) -> DataConfig:
    """Returns the recipe's table ``data`` with changes."""
    changes = parse_overrides(overrides)
    if other := next((key for key in changes if key != "data"), None):
        raise UsageError(f"--set {other}: a filter has the keys of data alone, such as data.max_ratio=3")
    tree = merge({"data": as_tree(translator.recipe.data)}, changes)
    return parse(DataConfig, tree["data"], source="--set data")


def _encoded(translator: Translator, files: ParallelFiles, config: DataConfig) -> PairStore:
    both = translator.tokenizers
    return prepare(files, src=both.src, tgt=both.tgt, config=config, cache_dir=scored_folder())


def _present(store: PairStore) -> Mask:
    """Which lines the store has."""
    kept = np.zeros(store.report.read, dtype=np.bool_)
    kept[store.line_numbers - 1] = True
    return kept


def _back_scores(
    translator: Translator, back: Path, files: ParallelFiles, lines: int, progress: Progress
) -> LineScores:
    """Scores the lines in the other direction."""
    sides = translator.sides
    other = Translator.load(back, device=str(translator.device)).toward(sides.src.code, sides.tgt.code)
    store = _encoded(other, files.swapped(), scored_pairs(other.recipe.data, refuse=False))
    return line_scores(other, store, lines, progress)


def _without(report: CorpusReport, store: PairStore, kept: Mask) -> CorpusReport:
    """Returns the report with the lines that are no longer kept as dropped for their score."""
    gone = ~kept[store.line_numbers - 1]
    lines = np.unique(store.line_numbers[gone])
    src, tgt = (int(lengths[gone].sum()) for lengths in store.line_lengths)
    return replace(
        report,
        kept=report.kept - len(lines),
        pairs=report.pairs - int(gone.sum()),
        dropped={**report.dropped, "score": len(lines)},
        examples={**report.examples, "score": lines[:EXAMPLES].tolist()},
        src=replace(
            report.src, tokens_used=report.src.tokens_used - src, tokens_dropped=report.src.tokens_dropped + src
        ),
        tgt=replace(
            report.tgt, tokens_used=report.tgt.tokens_used - tgt, tokens_dropped=report.tgt.tokens_dropped + tgt
        ),
    )


def _write(out: Path, files: ParallelFiles, kept: Mask, report: CorpusReport) -> None:
    """Writes the lines that are kept, each as it is in its file, and the report, and then names the folder ``out``."""
    place = out.with_name(out.name + SUFFIX)
    names = [f"{STEM}.{language}" for language in files.languages]
    try:
        place.mkdir(parents=True, exist_ok=True)
        with locked(place):
            _write_sides([place / name for name in names], files, kept)
            write_whole(place / RECORD, f"{json.dumps(report.as_dict(), ensure_ascii=False, indent=1)}\n".encode())
        place.rename(out)
        sync(out.parent)
    except OSError as error:
        raise DataError(f"--out {str(out)!r} cannot be written: {error.strerror}") from error


def _write_sides(paths: list[Path], files: ParallelFiles, kept: Mask) -> None:
    """Writes the lines that are kept, and brings them to the disk."""
    with paths[0].open("wb") as src_file, paths[1].open("wb") as tgt_file:
        for _, src, tgt in (line for line in files if kept[line[0] - 1]):
            src_file.write(f"{src}\n".encode())
            tgt_file.write(f"{tgt}\n".encode())
    for path in paths:
        sync(path)
