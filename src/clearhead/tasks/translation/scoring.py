"""Scores of a translator on a split: BLEU, chrF, loss and speed."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from clearhead.data.corpora.joined import EncodedCorpus, JoinedPairs
from clearhead.data.corpora.mixture import ParallelCorpus
from clearhead.data.corpus import NoSplitError, ParallelFiles, read_parallel
from clearhead.data.store import NoPairsError, prepare
from clearhead.decode.hypotheses import SearchConfig
from clearhead.errors import DataError
from clearhead.evaluate.paired import Bleu
from clearhead.evaluate.translation import TranslationScores, score_translations
from clearhead.export.runtime import Row
from clearhead.files import write_output
from clearhead.runs.cache import scored_folder
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.evidence import Evidence, random_ids
from clearhead.tasks.family import Evaluation
from clearhead.tasks.translation.corpora.reading import corpus_files, read_lines, scored_pairs, stem_of
from clearhead.tasks.translation.documents.preceding import last_line, read_before
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.recipe import Net, TranslationRecipe, mean_loss
from clearhead.tasks.translation.result import TranslateOptions
from clearhead.tasks.translation.translator import Translator
from clearhead.text.language import BleuTokenize
from clearhead.text.special import ABSENT


@dataclass(frozen=True)
class TranslationEvaluation(Evaluation):
    """All scores of one split."""

    split: str
    sentences: int
    scores: TranslationScores
    loss: float | None
    """Mean negative log-likelihood, in nats per target piece; None where no pair fits the model."""
    loss_pairs: int
    """Pairs the loss is over: those with text on both sides that fit the model, by the recipe's policy."""
    tokens_per_second: float
    """Target pieces translated per second."""
    incomplete: int
    """Translations that reached the length limit."""
    cut_better: int
    """Complete translations before which the length limit cut off a better ranked one."""
    beam: int
    """Hypotheses of the search."""
    translations: list[str]

    def lines(self, step: int) -> list[str]:
        """See ``Evaluation``."""
        scores = self.scores
        loss = "loss        -   no pair of lines fits the model"
        if self.loss is not None:
            loss = f"loss   {self.loss:6.3f}   nats per target piece, over {self.loss_pairs:,} pairs"
        return [
            f"{self.split}: {self.sentences:,} sentences, step {step:,}, beam {self.beam}",
            f"BLEU   {scores.bleu:6.2f}   {scores.bleu_signature}",
            f"chrF2  {scores.chrf:6.2f}   {scores.chrf_signature}",
            f"exact  {scores.exact_match:6.2f} % equal to their reference",
            loss,
            f"speed  {self.tokens_per_second:6.0f}   target pieces per second",
        ]

    def as_dict(self) -> dict[str, Any]:
        """See ``Evaluation``; the translations are left out."""
        tree = asdict(self)
        del tree["translations"]
        scores = tree.pop("scores")
        return {**tree, **scores}

    def warnings(self) -> list[str]:
        """See ``Evaluation``."""
        said = []
        if self.incomplete:
            said.append(f"{self.incomplete:,} translations reached the length limit without an end")
        if self.cut_better:
            said.append(
                f"{self.cut_better:,} translations are complete, and the length limit cut off a better ranked one"
            )
        return said

    def write(self, path: Path) -> None:
        """See ``Evaluation``: the translations, a line each."""
        _write_lines(path, self.translations)


@dataclass(frozen=True)
class MixtureEvaluation(Evaluation):
    """All scores of a split of several corpora: each alone, and their means."""

    each: dict[str, TranslationEvaluation]
    """By name of the corpus."""
    without: list[str]
    """Corpora that have no such split."""

    @property
    def bleu(self) -> float:
        """Mean BLEU of the corpora."""
        return sum(one.scores.bleu for one in self.each.values()) / len(self.each)

    @property
    def chrf(self) -> float:
        """Mean chrF2 of the corpora."""
        return sum(one.scores.chrf for one in self.each.values()) / len(self.each)

    def lines(self, step: int) -> list[str]:
        """See ``Evaluation``."""
        said = [line for name, one in self.each.items() for line in (f"{name}:", *one.lines(step))]
        if len(self.each) > 1:
            said.append(f"mean of {len(self.each)}: BLEU {self.bleu:.2f}, chrF2 {self.chrf:.2f}")
        return said

    def as_dict(self) -> dict[str, Any]:
        """See ``Evaluation``."""
        corpora = {name: one.as_dict() for name, one in self.each.items()}
        return {"bleu": self.bleu, "chrf": self.chrf, "corpora": corpora}

    def warnings(self) -> list[str]:
        """See ``Evaluation``."""
        told = [f"{name}: {line}" for name, one in self.each.items() for line in one.warnings()]
        return told + [f"{name}: has no such split, and is not scored" for name in self.without]

    def write(self, path: Path) -> None:
        """See ``Evaluation``: the translations of all corpora, one after another, a line each."""
        _write_lines(path, [text for one in self.each.values() for text in one.translations])


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    write_output(path, "".join(line + "\n" for line in lines).encode())


def evaluate_translator(
    translator: Translator,
    folder: Path,
    split: str,
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    tokenize: BleuTokenize | None = None,
) -> TranslationEvaluation:
    """Translates a split and scores it against its references.

    Args:
        translator: a loaded run.
        folder: holds ``SPLIT.SRC`` and ``SPLIT.TGT``, plain or .gz.
        split: stem of the files; train, valid and test stand for what the recipe says.
        beam: see ``SearchConfig``.
        length_penalty: see ``SearchConfig``.
        tokenize: sacreBLEU's tokenizer; None is the recipe's.
    """
    options: dict[str, Any] = {"beam": beam, "length_penalty": length_penalty, "tokenize": tokenize}
    files = split_files(translator, folder, split)
    return _evaluated(translator, files, stem_of(translator.recipe, split), **options)


def evaluate_directions(
    translator: Translator, folder: Path, split: str, *, to: str = "", source: str = "", **options: Any
) -> TranslationEvaluation | MixtureEvaluation:
    """Scores a split of each corpus that a translator was trained on; of one corpus as ``evaluate_translator`` does.

    Args:
        translator: a loaded run.
        folder: of its corpora, or of the files of one direction that is named.
        split: see ``evaluate_translator``.
        options: likewise.
        to: of several directions only those into this language; see ``toward``.
        source: likewise only those from this language.

    Raises:
        UsageError: the run knows no such direction.
        NoSplitError: there are no such files.
    """
    recipe = translator.recipe
    if not (corpora := recipe.data.corpora):
        return evaluate_translator(translator.toward(to, source), folder, split, **options)
    ways = [(corpus, translator.toward(corpus.tgt, corpus.src)) for corpus in corpora]
    if to or source:
        asked = translator.toward(to, source)
        with contextlib.suppress(NoSplitError):
            src, tgt = asked.sides.src.code, asked.sides.tgt.code
            files = read_parallel(folder, stem=stem_of(recipe, split), src=src, tgt=tgt)
            return _evaluated(asked, files, stem_of(recipe, split), **options)
        ways = [each for each in ways if each[1].sides == asked.sides]
    return _evaluated_each(translator, folder, split, ways, options)


def _evaluated_each(
    translator: Translator,
    folder: Path,
    split: str,
    corpora: Sequence[tuple[ParallelCorpus, Translator]],
    options: dict[str, Any],
) -> MixtureEvaluation:
    """Scores a split of several corpora; those without one are left out if any has it."""
    each: dict[str, TranslationEvaluation] = {}
    missing: dict[str, NoSplitError] = {}
    for corpus, way in corpora:
        try:
            files = corpus_files(folder, translator.recipe, corpus, split)
        except NoSplitError as error:
            missing[corpus.label] = error
            continue
        each[corpus.label] = _evaluated(way, files, stem_of(translator.recipe, split, corpus), **options)
    if not corpora:
        raise DataError(f"data {str(folder)!r}: no corpus of the run is in the direction that is asked for")
    if not each:
        raise next(iter(missing.values()))
    return MixtureEvaluation(each, list(missing))


def _evaluated(
    translator: Translator,
    files: ParallelFiles,
    split: str,
    *,
    beam: int,
    length_penalty: float,
    tokenize: BleuTokenize | None,
) -> TranslationEvaluation:
    """Translates two files in the direction of ``translator`` and scores them."""
    loss, loss_pairs = _loss(translator, files)
    lines = read_lines(files)
    started = time.perf_counter()
    hypotheses = translator.n_best([src for src, _ in lines], SearchConfig(beam, 1, length_penalty), split="overlong")
    seconds = time.perf_counter() - started
    best = [ranked[0] for ranked in hypotheses]
    texts = [translation.text for translation in best]
    return TranslationEvaluation(
        split=split,
        sentences=len(lines),
        scores=score_translations(texts, [tgt for _, tgt in lines], tokenize=tokenize or tokenize_of(translator)),
        loss=loss,
        loss_pairs=loss_pairs,
        tokens_per_second=sum(len(translation.log_probs) for translation in best) / seconds,
        incomplete=sum(not translation.complete for translation in best),
        cut_better=sum(translation.cut_better for translation in best),
        beam=beam,
        translations=texts,
    )


def tokenize_of(translator: Translator) -> BleuTokenize:
    """SacreBLEU's tokenizer for the direction of a translator."""
    return translator.recipe.bleu_of(translator.sides.tgt.code)


def split_files(translator: Translator, folder: Path, split: str) -> ParallelFiles:
    """Returns the two files of a split; train, valid and test stand for what the recipe says.

    Of several corpora they are those of the first one in the direction of the translator.
    """
    recipe = translator.recipe
    if not recipe.data.corpora:
        return read_parallel(folder, stem=stem_of(recipe, split), src=recipe.src, tgt=recipe.tgt)
    sides = translator.sides
    corpora = (each for each in recipe.data.corpora if translator.toward(each.tgt, each.src).sides == sides)
    return corpus_files(folder, recipe, next(corpora), split)


def _loss(translator: Translator, files: ParallelFiles) -> tuple[float | None, int]:
    """Returns the mean loss and the number of pairs that it is over; None where no pair fits the model."""
    recipe, both = translator.recipe, translator.tokenizers
    config = scored_pairs(recipe.data, refuse=False)
    try:
        store = prepare(files, src=both.src, tgt=both.tgt, config=config, cache_dir=scored_folder())
    except NoPairsError:
        return None, 0
    tag = translator.sides.tag
    pairs = store if tag == ABSENT else JoinedPairs([EncodedCorpus(ParallelCorpus(), store, (tag,))])
    loss = mean_loss(translator.model, pairs, batch_tokens=recipe.train.batch_tokens, device=translator.device)
    return loss, len(store)


def greedy_bleu(
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    model: Net,
    lines: Sequence[tuple[str, str]],
    *,
    device: torch.device,
    lengths: LengthLimit,
    way: tuple[str, str] = ("", ""),
) -> float:
    """BLEU of greedy translations of the lines of a split, while training: what ``evaluate --beam 1`` gives.

    ``way`` is the source and target language of the lines, where there are several.
    """
    sources, references = [src for src, _ in lines], [tgt for _, tgt in lines]
    texts = greedy_texts(recipe, tokenizers, model, sources, device=device, lengths=lengths, way=way)
    tokenize = recipe.bleu_of(way[1] or recipe.tgt)
    return score_translations(texts, references, tokenize=tokenize).bleu


def greedy_texts(
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    model: Net,
    sources: Sequence[str],
    *,
    device: torch.device,
    lengths: LengthLimit,
    way: tuple[str, str] = ("", ""),
    **options: Unpack[TranslateOptions],
) -> list[str]:
    """Greedy translations by a model in training; see ``greedy_bleu``, and ``translate`` for the options."""
    translator = Translator(recipe, tokenizers, model, device, lengths=lengths).toward(way[1], way[0])
    own: Any = {"beam": 1, "split": "overlong", **options}
    return [each.text for each in translator.translate(sources, **own)]


def translation_evidence(translator: Translator, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
    """Returns lines of a split on which an exported translator is compared; see ``LearnedFamily.evidence``."""
    translator = translator.leading
    src, tgt, lead = translator.tokenizers.src, translator.tokenizers.tgt, translator.sides.lead
    special, room = tgt.ids, translator.recipe.model.max_seq_len - 1 - len(lead)
    lines: list[tuple[str, str]] = []
    dropped, contexts = 0, list[list[int]]()
    if data is not None:
        lines = read_lines(split_files(translator, data, split), count)
        sources, targets = src.encode_batch([line for line, _ in lines]), tgt.encode_batch([line for _, line in lines])
        kept = [
            at for at, pair in enumerate(zip(sources, targets, strict=True)) if pair[0] and max(map(len, pair)) <= room
        ]
        if not kept:
            raise DataError(f"data {str(data)!r}: no line of the {split} split fits the model's {room + 1} positions")
        dropped = len(lines) - len(kept)
        contexts = [_evident_context(translator, lines[at - 1][0] if at else "", len(sources[at])) for at in kept]
        lines, sources, targets = [lines[at] for at in kept], [sources[at] for at in kept], [targets[at] for at in kept]
    else:
        sources, targets = (
            random_ids(side.vocab_size, len(special.never) + 1, room, draw=draw) for draw, side in enumerate((src, tgt))
        )
    rows = [
        Row([*lead, *before, *ids, special.eos], [special.bos, *target])
        for before, ids, target in zip(contexts or [[]] * len(sources), sources, targets, strict=True)
    ]
    return Evidence(
        rows=rows,
        ends=[special.eos],
        never=[*special.never, *tgt.tags.values(), *tgt.marks.values()],
        metric=Bleu([line for _, line in lines], tokenize_of(translator)) if lines else None,
        prompts=rows,
        limits=[min(translator.lengths.pieces(len(lead) + len(ids)), room) for ids in sources],
        texts=[line for line, _ in lines],
        ids=sources if lines else [],
        dropped=dropped,
    )


def _evident_context(translator: Translator, before: str, own: int) -> list[int]:
    """Returns what is read before a line with ``own`` pieces, if the model reads the line before it."""
    sides = translator.sides
    return read_before(last_line(before), own, sides, translator.tokenizers.src) if sides.reads_context else []
