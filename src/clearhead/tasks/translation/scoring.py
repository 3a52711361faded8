"""Scores of a translator on a split: BLEU, chrF, loss and speed."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from clearhead.data.corpus import read_parallel
from clearhead.data.store import PairStore, prepare
from clearhead.decode.search import SearchConfig
from clearhead.evaluate.translation import (
    BleuTokenize,
    TranslationScores,
    default_tokenize,
    score_translations,
)
from clearhead.runs.cache import cache_folder
from clearhead.runs.directory import write_text
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.family import ComparedScores, Evaluation
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.recipe import Net, TranslationRecipe, mean_loss
from clearhead.tasks.translation.translator import Translator


@dataclass(frozen=True)
class TranslationEvaluation(Evaluation):
    """All scores of one split."""

    split: str
    sentences: int
    scores: TranslationScores
    loss: float
    """Mean negative log-likelihood, in nats per target piece."""
    loss_pairs: int
    """Pairs the loss is over: those the recipe's filters keep."""
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
        return [
            f"{self.split}: {self.sentences:,} sentences, step {step:,}, beam {self.beam}",
            f"BLEU   {scores.bleu:6.2f}   {scores.bleu_signature}",
            f"chrF2  {scores.chrf:6.2f}   {scores.chrf_signature}",
            f"exact  {scores.exact_match:6.2f} % equal to their reference",
            f"loss   {self.loss:6.3f}   nats per target piece, over {self.loss_pairs:,} pairs",
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
        counts = {
            "reached the length limit without an end": self.incomplete,
            "are complete, and the length limit cut off a better ranked one": self.cut_better,
        }
        return [f"{count} translations {what}" for what, count in counts.items() if count]

    def write(self, path: Path) -> None:
        """See ``Evaluation``: the translations, a line each."""
        write_text(path, "".join(line + "\n" for line in self.translations))


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
        tokenize: sacreBLEU's tokenizer; None is the target language's.
    """
    recipe = translator.recipe
    stem = {"train": recipe.data.train, "valid": recipe.data.valid, "test": recipe.data.test}.get(split, split)
    files = read_parallel(folder, stem=stem, src=recipe.src, tgt=recipe.tgt)
    src, tgt = translator.tokenizers.src, translator.tokenizers.tgt
    config = replace(recipe.data, drop_duplicates=False, max_ratio=0.0, overlong="drop")
    store = prepare(files, src=src, tgt=tgt, config=config, cache_dir=cache_folder() / "data")
    pairs = list(files)
    started = time.perf_counter()
    hypotheses = translator.n_best([text for _, text, _ in pairs], SearchConfig(beam, 1, length_penalty))
    seconds = time.perf_counter() - started
    best = [ranked[0] for ranked in hypotheses]
    texts = [translation.text for translation in best]
    tokenize = tokenize or default_tokenize(recipe.tgt)
    loss = mean_loss(translator.model, store, batch_tokens=recipe.train.batch_tokens, device=translator.device)
    return TranslationEvaluation(
        split=stem,
        sentences=len(pairs),
        scores=score_translations(texts, [text for _, _, text in pairs], tokenize=tokenize),
        loss=loss,
        loss_pairs=len(store),
        tokens_per_second=sum(len(translation.log_probs) for translation in best) / seconds,
        incomplete=sum(not translation.complete for translation in best),
        cut_better=sum(translation.cut_better for translation in best),
        beam=beam,
        translations=texts,
    )


def compare_translator(translator: Translator, folder: Path, split: str, *, beam: int) -> ComparedScores:
    """Scores a split as ``evaluate_translator`` does, and its thirds by length of the source."""
    recipe = translator.recipe
    evaluation = evaluate_translator(translator, folder, split, beam=beam)
    pairs = [(src, tgt) for _, src, tgt in read_parallel(folder, stem=evaluation.split, src=recipe.src, tgt=recipe.tgt)]
    scores: dict[str, float | None] = {"BLEU": evaluation.scores.bleu, "chrF2": evaluation.scores.chrf}
    order = np.argsort([len(src.strip()) for src, _ in pairs], kind="stable")
    for name, rows in zip(("short", "middle", "long"), np.array_split(order, 3), strict=True):
        texts, references = [evaluation.translations[row] for row in rows], [pairs[row][1] for row in rows]
        scored = score_translations(texts, references, tokenize=default_tokenize(recipe.tgt)) if len(rows) else None
        scores[f"BLEU, {name}"] = scored.bleu if scored else None
    return ComparedScores(scores, evaluation.tokens_per_second)


def greedy_bleu(
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    model: Net,
    store: PairStore,
    *,
    device: torch.device,
    count: int,
    lengths: LengthLimit,
) -> float:
    """BLEU of greedy translations of the first ``count`` pairs of a store, as text, while training."""
    rows = range(min(count, len(store)))
    sources = [tokenizers.src.decode(store.src(row).tolist()) for row in rows]
    references = [tokenizers.tgt.decode(store.tgt(row).tolist()) for row in rows]
    translator = Translator(recipe, tokenizers, model, device, lengths=lengths)
    texts = [translation.text for translation in translator.translate(sources, beam=1)]
    return score_translations(texts, references, tokenize=default_tokenize(recipe.tgt)).bleu
