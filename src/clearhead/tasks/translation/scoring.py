"""Scores of a translator on a split: BLEU, chrF, loss and speed."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

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
from clearhead.runs.tokenizers import Tokenizers
from clearhead.tasks.translation.recipe import Net, TranslationRecipe, mean_loss
from clearhead.tasks.translation.translator import Translator


@dataclass(frozen=True)
class Evaluation:
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
    translations: list[str]


def evaluate_translator(
    translator: Translator,
    folder: Path,
    split: str,
    *,
    beam: int = 5,
    length_penalty: float = 1.0,
    tokenize: BleuTokenize | None = None,
) -> Evaluation:
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
    found = translator.n_best([text for _, text, _ in pairs], SearchConfig(beam, 1, length_penalty))
    seconds = time.perf_counter() - started
    best = [ranked[0] for ranked in found]
    texts = [translation.text for translation in best]
    tokenize = tokenize or default_tokenize(recipe.tgt)
    loss = mean_loss(translator.model, store, batch_tokens=recipe.train.batch_tokens, device=translator.device)
    return Evaluation(
        split=stem,
        sentences=len(pairs),
        scores=score_translations(texts, [text for _, _, text in pairs], tokenize=tokenize),
        loss=loss,
        loss_pairs=len(store),
        tokens_per_second=sum(len(one.log_probs) for one in best) / seconds,
        incomplete=sum(not one.complete for one in best),
        translations=texts,
    )


def greedy_bleu(
    recipe: TranslationRecipe,
    tokenizers: Tokenizers,
    model: Net,
    store: PairStore,
    *,
    device: torch.device,
    count: int,
) -> float:
    """BLEU of greedy translations of the first ``count`` pairs of a store, as text, while training."""
    rows = range(min(count, len(store)))
    sources = [tokenizers.src.decode(store.src(row).tolist()) for row in rows]
    references = [tokenizers.tgt.decode(store.tgt(row).tolist()) for row in rows]
    translator = Translator(recipe, tokenizers, model, device)
    texts = [one.text for one in translator.translate(sources, beam=1)]
    return score_translations(texts, references, tokenize=default_tokenize(recipe.tgt)).bleu
