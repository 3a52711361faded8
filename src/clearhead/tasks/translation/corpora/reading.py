"""The text of a translator: the files of each corpus, its splits, its encoded pairs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from clearhead.data.batching import plan_batches
from clearhead.data.corpora.filters import FilterConfig
from clearhead.data.corpora.joined import EncodedCorpus, EncodedPairs, JoinedPairs, MixtureReport
from clearhead.data.corpora.mixture import ParallelCorpus
from clearhead.data.corpora.report import CorpusReport
from clearhead.data.corpus import DataConfig, NoSplitError, ParallelFiles, Scan, read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.errors import DataError, UsageError
from clearhead.progress import Progress, silent
from clearhead.runs.cache import cache_folder
from clearhead.runs.text_parts import TextParts, Tokenizers
from clearhead.tasks.translation.corpora.directions import tag_in
from clearhead.tasks.translation.recipe import TranslationRecipe, train_mixed_tokenizers, train_tokenizers
from clearhead.text.language import read_language
from clearhead.text.special import ABSENT
from clearhead.training.samples.choose import dealt, in_drawn_order


@dataclass(frozen=True)
class ValidPart:
    """The valid split of a corpus: encoded for the loss, and as text for BLEU."""

    store: EncodedPairs
    lines: list[tuple[str, str]]
    """Sources and references as they are in the files; empty unless the run is judged by BLEU."""
    corpus: ParallelCorpus = field(default_factory=ParallelCorpus)
    """Which of several it is."""
    sampled: list[tuple[str, str]] = field(default_factory=list)
    """Lines that are translated at each evaluation for people to see, sources and references."""
    before: list[str] = field(default_factory=list)
    """What stands before each of these, where the model reads it; else nothing."""


@dataclass(frozen=True)
class ValidPairs:
    """The valid split, of one corpus or of several."""

    parts: list[ValidPart]

    @property
    def report(self) -> CorpusReport | MixtureReport:
        """What became of the lines that the loss is over."""
        if len(self.parts) == 1:
            return self.parts[0].store.report
        joined = [part for each in self.parts if isinstance(each.store, JoinedPairs) for part in each.store.parts]
        return JoinedPairs(joined).report


def read_pairs(
    folder: Path, recipe: TranslationRecipe, known: TextParts | None, progress: Progress
) -> tuple[TextParts, EncodedPairs, ValidPairs]:
    """Reads and encodes the corpus in ``folder``, with tokenizers trained on it unless some are ``known``.

    Raises:
        DataError: the text cannot be used, or a sentence is above the budget of a batch.
    """
    for code in (code for direction in recipe.directions for code in direction):
        read_language(code)  # says now what is assumed of a language that is not known
    if known is not None:
        known = _with_dropout(known, recipe.tokenizer.dropout)
    parts, pairs, valid = (_read_corpora if recipe.data.corpora else _read_one)(folder, recipe, known, progress)
    longest = int(np.maximum(*pairs.lengths).argmax())
    plan_batches(
        *(lengths[longest : longest + 1] for lengths in pairs.lengths),
        batch_tokens=recipe.train.batch_tokens,
        seed=0,
        epoch=0,
    )  # a sentence above the budget is an error now, not in the middle of an epoch
    return parts, pairs, valid


def _read_one(
    folder: Path, recipe: TranslationRecipe, known: TextParts | None, progress: Progress
) -> tuple[TextParts, EncodedPairs, ValidPairs]:
    """Reads a corpus whose files are in the folder itself; see ``read_pairs``."""
    (train,) = training_files(folder, recipe)
    valid = read_parallel(folder, stem=recipe.data.valid, src=recipe.src, tgt=recipe.tgt)
    scan = train.scan()  # once: a large corpus takes minutes to read
    parts = known or train_tokenizers(train, scan.lines, recipe.tokenizer)
    pairs = encode_training([train], recipe, parts.both, scans=[scan], progress=progress)
    store = _encode_valid(valid, recipe, parts.both)
    sampled = sampled_lines(valid, store, recipe.validation.samples, recipe.train.seed)
    return parts, pairs, ValidPairs([_valid_part(store, valid, recipe, sampled)])


def _read_corpora(
    folder: Path, recipe: TranslationRecipe, known: TextParts | None, progress: Progress
) -> tuple[TextParts, EncodedPairs, ValidPairs]:
    """Reads several corpora; see ``read_pairs``."""
    train = training_files(folder, recipe)
    scans = [files.scan() for files in train]
    lines = [scan.lines for scan in scans]
    parts = known or train_mixed_tokenizers(train, lines, recipe.tokenizer, recipe.data)
    pairs = encode_training(train, recipe, parts.both, scans=scans, progress=progress)
    found: list[tuple[ParallelCorpus, ParallelFiles]] = []
    missing: list[NoSplitError] = []
    for corpus in recipe.data.corpora:
        try:
            found.append((corpus, corpus_files(folder, recipe, corpus, "valid")))
        except NoSplitError as error:
            if corpus.valid:  # somebody says that it is there
                raise
            missing.append(error)
    valid: list[ValidPart] = []
    for (corpus, files), samples in zip(found, dealt(recipe.validation.samples, len(found)), strict=True):
        store = _encode_valid(files, recipe, parts.both)
        joined = JoinedPairs([encoded_corpus(corpus, store, parts.both)])
        sampled = sampled_lines(files, store, samples, recipe.train.seed)
        valid.append(_valid_part(joined, files, recipe, sampled, corpus=corpus))
    if not any(part.corpus.judged for part in valid):
        raise missing[0] if missing else UsageError("data.corpora: judged = false in all, one must choose the best")
    return parts, pairs, ValidPairs(valid)


def training_files(folder: Path, recipe: TranslationRecipe) -> list[ParallelFiles]:
    """Returns the training files of each corpus; of a recipe without corpora those in the folder itself.

    Raises:
        DataError: one is missing.
    """
    if not recipe.data.corpora:
        return [read_parallel(folder, stem=recipe.data.train, src=recipe.src, tgt=recipe.tgt)]
    return [corpus_files(folder, recipe, corpus, "train") for corpus in recipe.data.corpora]


def encode_training(
    files: Sequence[ParallelFiles],
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    *,
    scans: Sequence[Scan] = (),
    progress: Progress = silent,
) -> EncodedPairs:
    """Encodes the training text, or opens it as it was encoded before.

    Args:
        files: as ``training_files`` returns them.
        recipe: that is trained by.
        tokenizers: of both sides.
        scans: the results of ``files.scan()``; empty: they are scanned now.
        progress: called with (lines done, lines in all) of each.

    Raises:
        DataError: see ``prepare``.
    """
    data = recipe.data
    known: Sequence[Scan | None] = scans or [None] * len(files)
    own: Any = {"config": data, "cache_dir": cache_folder() / "data", "keep_text": recipe.tokenizer.dropout > 0}
    own |= {"src": tokenizers.src, "tgt": tokenizers.tgt, "progress": progress}
    stores = [prepare(each, scan=scan, **own) for each, scan in zip(files, known, strict=True)]
    if not data.corpora:
        return stores[0]
    parts = [encoded_corpus(corpus, store, tokenizers) for corpus, store in zip(data.corpora, stores, strict=True)]
    return JoinedPairs(parts, data.temperature)


def _encode_valid(files: ParallelFiles, recipe: TranslationRecipe, tokenizers: Tokenizers) -> PairStore:
    """Encodes a valid split as its loss is taken."""
    config, folder = scored_pairs(recipe.data, refuse=True), cache_folder() / "data"
    return prepare(files, src=tokenizers.src, tgt=tokenizers.tgt, config=config, cache_dir=folder)


def encoded_corpus(corpus: ParallelCorpus, store: PairStore, tokenizers: Tokenizers) -> EncodedCorpus:
    """Returns a corpus with the tag of its target language, where the vocabulary has one, and that of its kind."""
    kind = [tokenizers.src.marks[corpus.tag]] if corpus.tag else []
    lead = [piece for piece in (tag_in(tokenizers, corpus.tgt), *kind) if piece != ABSENT]
    return EncodedCorpus(corpus, store, tuple(lead))


def _valid_part(
    store: EncodedPairs,
    files: ParallelFiles,
    recipe: TranslationRecipe,
    sampled: list[tuple[str, str, str]],
    **corpus: ParallelCorpus,
) -> ValidPart:
    """Returns the valid split of a corpus; ``sampled`` are lines to see, each with the source line before it."""
    contexts = [before if recipe.data.context else "" for _, _, before in sampled]
    lines = _judged_lines(files, recipe)
    return ValidPart(store, lines, sampled=[(src, tgt) for src, tgt, _ in sampled], before=contexts, **corpus)


def _judged_lines(files: ParallelFiles, recipe: TranslationRecipe) -> list[tuple[str, str]]:
    """Returns the lines that BLEU is of, where the run is judged by it."""
    judged_by = recipe.validation
    return read_lines(files, judged_by.max_sentences) if judged_by.monitor == "bleu" else []


def sampled_lines(files: ParallelFiles, store: PairStore, count: int, seed: int) -> list[tuple[str, str, str]]:
    """Returns ``count`` lines of a middling length that are in ``store``, as they are in the files; see ``choose``.

    Each has its source, its target, and the source line before it, which is empty for the first line.
    """
    numbers: list[int] = []
    sources: set[bytes] = set()
    for row in in_drawn_order(store.lengths[1], seed) if count else ():
        source, number = store.line(row).tobytes(), int(store.line_numbers[row])
        if source not in sources and number not in numbers:
            sources.add(source)
            numbers.append(number)
        if len(numbers) == count:
            break
    lines, before = dict[int, tuple[str, str, str]](), ""
    for number, src, tgt in islice(files, max(numbers, default=0)):
        if number in numbers:
            lines[number] = src, tgt, before
        before = src
    return [lines[number] for number in numbers if number in lines]


def _with_dropout(parts: TextParts, share: float) -> TextParts:
    """Returns the tokenizers of a trained model with the BPE-dropout of the new recipe."""
    both = parts.both
    if share == both.src.config.dropout:
        return parts
    src = both.src.with_dropout(share)
    return replace(parts, tokenizer=src, target=src if both.tgt is both.src else both.tgt.with_dropout(share))


def corpus_files(folder: Path, recipe: TranslationRecipe, corpus: ParallelCorpus, split: str) -> ParallelFiles:
    """Returns the two files of a split of one of several corpora; see ``split_files``.

    Raises:
        NoSplitError: the corpus has no such split.
        DataError: its folder is missing.
    """
    if folder.is_dir() and not (folder / corpus.path).is_dir():
        hint = f"; did you mean {str(folder.parent)!r}?" if (folder.parent / corpus.path).is_dir() else ""
        raise DataError(
            f"data folder {str(folder)!r} has no folder {corpus.path!r}, which is that of a corpus of the recipe; "
            f"--data is the folder above the {len(recipe.data.corpora)} corpora{hint}"
        )
    return read_parallel(folder / corpus.path, stem=stem_of(recipe, split, corpus), src=corpus.src, tgt=corpus.tgt)


def stem_of(recipe: TranslationRecipe, split: str, corpus: ParallelCorpus | None = None) -> str:
    """Returns the stem of the files of a split; train, valid and test stand for what the recipe or a corpus says."""
    own = {} if corpus is None else {"train": corpus.train, "valid": corpus.valid, "test": corpus.test}
    stems = {"train": recipe.data.train, "valid": recipe.data.valid, "test": recipe.data.test}
    return own.get(split) or stems.get(split, split)


def scored_pairs(config: DataConfig, *, refuse: bool) -> DataConfig:
    """Returns how a split is read whose loss is a score: no pair is left out for what it is, but those that do not fit.

    Args:
        config: the recipe's table ``data``.
        refuse: whether the policy ``error`` for overlong pairs stays; else they are left out of the loss.
    """
    overlong = "drop" if config.overlong == "error" and not refuse else config.overlong
    return replace(config, drop_duplicates=False, max_ratio=0.0, filters=FilterConfig(), overlong=overlong)


def read_lines(files: ParallelFiles, most: int = 0) -> list[tuple[str, str]]:
    """Returns the sources and references of all lines, or of the first ``most``, as they are in the files."""
    return [(src, tgt) for _, src, tgt in islice(files, most or None)]
