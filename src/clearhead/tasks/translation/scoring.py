"""Scores of a translator on a split: BLEU, chrF, loss and speed."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clearhead.data.corpus import DataConfig, ParallelFiles, read_parallel
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
from clearhead.tasks.family import ComparedScores, Evaluation
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.recipe import Net, TranslationRecipe, mean_loss
from clearhead.tasks.translation.translator import Translator
from clearhead.text.language import BleuTokenize


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
        write_output(path, "".join(line + "\n" for line in self.translations).encode())


def scored_pairs(config: DataConfig, *, refuse: bool) -> DataConfig:
    """Returns how a split is read whose loss is a score: no pair is left out for being a duplicate or uneven.

    Args:
        config: the recipe's table ``data``.
        refuse: whether the policy ``error`` for overlong pairs stays; else they are left out of the loss.
    """
    overlong = "drop" if config.overlong == "error" and not refuse else config.overlong
    return replace(config, drop_duplicates=False, max_ratio=0.0, overlong=overlong)


def read_lines(files: ParallelFiles, most: int = 0) -> list[tuple[str, str]]:
    """Returns the sources and references of all lines, or of the first ``most``, as they are in the files."""
    return [(src, tgt) for _, src, tgt in islice(files, most or None)]


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
    recipe = translator.recipe
    files = split_files(translator, folder, split)
    loss, loss_pairs = _loss(translator, files)
    lines = read_lines(files)
    started = time.perf_counter()
    hypotheses = translator.n_best([src for src, _ in lines], SearchConfig(beam, 1, length_penalty), split="overlong")
    seconds = time.perf_counter() - started
    best = [ranked[0] for ranked in hypotheses]
    texts = [translation.text for translation in best]
    return TranslationEvaluation(
        split=_stem(recipe, split),
        sentences=len(lines),
        scores=score_translations(texts, [tgt for _, tgt in lines], tokenize=tokenize or recipe.bleu_tokenize),
        loss=loss,
        loss_pairs=loss_pairs,
        tokens_per_second=sum(len(translation.log_probs) for translation in best) / seconds,
        incomplete=sum(not translation.complete for translation in best),
        cut_better=sum(translation.cut_better for translation in best),
        beam=beam,
        translations=texts,
    )


def split_files(translator: Translator, folder: Path, split: str) -> ParallelFiles:
    """Returns the two files of a split; train, valid and test stand for what the recipe says."""
    recipe = translator.recipe
    return read_parallel(folder, stem=_stem(recipe, split), src=recipe.src, tgt=recipe.tgt)


def _stem(recipe: TranslationRecipe, split: str) -> str:
    return {"train": recipe.data.train, "valid": recipe.data.valid, "test": recipe.data.test}.get(split, split)


def _loss(translator: Translator, files: ParallelFiles) -> tuple[float | None, int]:
    """Returns the mean loss and the number of pairs that it is over; None where no pair fits the model."""
    recipe, both = translator.recipe, translator.tokenizers
    config = scored_pairs(recipe.data, refuse=False)
    try:
        store = prepare(files, src=both.src, tgt=both.tgt, config=config, cache_dir=scored_folder())
    except NoPairsError:
        return None, 0
    loss = mean_loss(translator.model, store, batch_tokens=recipe.train.batch_tokens, device=translator.device)
    return loss, len(store)


def compare_translator(
    translator: Translator, folder: Path, split: str, *, beam: int, tokenize: BleuTokenize | None = None
) -> ComparedScores:
    """Scores a split as ``evaluate_translator`` does, and its thirds by length of the source."""
    evaluation = evaluate_translator(translator, folder, split, beam=beam, tokenize=tokenize)
    lines = read_lines(split_files(translator, folder, split))
    scores: dict[str, float | None] = {"BLEU": evaluation.scores.bleu, "chrF2": evaluation.scores.chrf}
    order = np.argsort([len(src.strip()) for src, _ in lines], kind="stable")
    for name, rows in zip(("short", "middle", "long"), np.array_split(order, 3), strict=True):
        texts, references = [evaluation.translations[row] for row in rows], [lines[row][1] for row in rows]
        used = tokenize or translator.recipe.bleu_tokenize
        scored = score_translations(texts, references, tokenize=used) if len(rows) else None
        scores[f"BLEU, {name}"] = scored.bleu if scored else None
    return ComparedScores(scores, evaluation.tokens_per_second)


def greedy_bleu(
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    model: Net,
    lines: Sequence[tuple[str, str]],
    *,
    device: torch.device,
    lengths: LengthLimit,
) -> float:
    """BLEU of greedy translations of the lines of a split, while training: what ``evaluate --beam 1`` gives."""
    translator = Translator(recipe, tokenizers, model, device, lengths=lengths)
    texts = [
        translation.text for translation in translator.translate([src for src, _ in lines], beam=1, split="overlong")
    ]
    return score_translations(texts, [tgt for _, tgt in lines], tokenize=recipe.bleu_tokenize).bleu


def translation_evidence(translator: Translator, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
    """Returns lines of a split on which an exported translator is compared; see ``LearnedFamily.evidence``."""
    src, tgt = translator.tokenizers.src, translator.tokenizers.tgt
    special, room = tgt.ids, translator.recipe.model.max_seq_len - 1
    lines: list[tuple[str, str]] = []
    dropped = 0
    if data is not None:
        lines = read_lines(split_files(translator, data, split), count)
        sources, targets = src.encode_batch([line for line, _ in lines]), tgt.encode_batch([line for _, line in lines])
        kept = [
            at for at, pair in enumerate(zip(sources, targets, strict=True)) if pair[0] and max(map(len, pair)) <= room
        ]
        if not kept:
            raise DataError(f"data {str(data)!r}: no line of the {split} split fits the model's {room + 1} positions")
        dropped = len(lines) - len(kept)
        lines, sources, targets = [lines[at] for at in kept], [sources[at] for at in kept], [targets[at] for at in kept]
    else:
        sources, targets = (
            random_ids(side.vocab_size, len(special.never) + 1, room, draw=draw) for draw, side in enumerate((src, tgt))
        )
    rows = [Row([*ids, special.eos], [special.bos, *target]) for ids, target in zip(sources, targets, strict=True)]
    return Evidence(
        rows=rows,
        ends=[special.eos],
        never=list(special.never),
        metric=Bleu([line for _, line in lines], translator.recipe.bleu_tokenize) if lines else None,
        prompts=rows,
        limits=[min(translator.lengths.pieces(len(ids)), room) for ids in sources],
        texts=[line for line, _ in lines],
        ids=sources if lines else [],
        dropped=dropped,
    )
