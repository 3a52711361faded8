"""Scores of lines are the log-probabilities that the model gives their pieces, however they are batched."""

from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.data.corpus import read_parallel
from clearhead.data.store import prepare
from clearhead.data.translation import collate
from clearhead.tasks.translation.corpora.reading import scored_pairs
from clearhead.tasks.translation.corpora.scores import dual_scores, line_scores
from clearhead.tasks.translation.recipe import mean_loss
from clearhead.tasks.translation.translator import Translator


def test_a_line_has_the_mean_of_its_pieces(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    translator = Translator.load(toy_run, device="cpu")
    recipe, both = translator.recipe, translator.tokenizers
    files = read_parallel(toy_data, stem="train", src="zh", tgt="en")
    config = scored_pairs(recipe.data, refuse=False)
    store = prepare(files, src=both.src, tgt=both.tgt, config=config, cache_dir=tmp_path)
    said: list[tuple[int, int]] = []
    scores = line_scores(translator, store, 42, lambda *numbers: said.append(numbers))
    assert said[-1] == (40, 40)
    assert np.isinf(scores[40:]).all()
    for line, (src, tgt) in enumerate(zip(*(_lines(toy_data, side) for side in ("zh", "en")), strict=True)):
        ids = both.src.encode(src), both.tgt.encode(tgt)
        batch = collate([ids[0]], [ids[1]], special=both.tgt.ids)
        with torch.inference_mode():
            logits = translator.model(batch.src_ids, batch.tgt_ids)[0]
        loss = torch.nn.functional.cross_entropy(logits, batch.targets[0])
        assert scores[line] == pytest.approx(-float(loss), abs=1e-4)
    whole = mean_loss(translator.model, store, batch_tokens=300, device=translator.device)
    weights = store.lengths[1] + 1
    assert -float(np.average(scores[:40], weights=weights)) == pytest.approx(whole, abs=1e-5)


def _lines(folder: Path, side: str) -> list[str]:
    return (folder / f"train.{side}").read_text(encoding="utf-8").splitlines()


def test_a_direction_has_its_tag(two_ways: Path, tmp_path: Path) -> None:
    """Toward the language that they are in, lines are far more probable than toward the other."""
    translator = Translator.load(two_ways / "run", device="cpu")
    files = read_parallel(two_ways / "other", stem="train", src="zh", tgt="en")
    both = translator.tokenizers
    store = prepare(files, src=both.src, tgt=both.tgt, config=translator.recipe.data, cache_dir=tmp_path)
    right, wrong = (line_scores(translator.toward(to), store, 24) for to in ("en", "zh"))
    assert (right > wrong).all()
    assert wrong.mean() < 3 * right.mean()


def test_two_directions_that_disagree_are_worth_less() -> None:
    forward, backward = np.array([-1.0, -1.0, -3.0, -np.inf]), np.array([-1.0, -3.0, -3.0, -1.0])
    # minus |f - b| + (f + b) / 2 of the cross-entropies, by hand
    assert dual_scores(forward, backward).tolist() == [-1.0, -4.0, -3.0, -np.inf]
