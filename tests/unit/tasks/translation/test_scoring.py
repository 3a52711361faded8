"""Scores of a translator on a split: what is counted, over which pairs."""

import math
from pathlib import Path

import pytest
import torch

from clearhead.data.translation import collate
from clearhead.evaluate.translation import score_translations
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.load import load
from tests.toy import RECIPE, write_split


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


def test_every_line_is_scored_but_the_loss_is_over_what_training_would_keep(
    translator: Translator, toy_data: Path, tmp_path: Path
) -> None:
    sides = [(toy_data / f"train.{name}").read_text(encoding="utf-8").splitlines() for name in ("zh", "en")]
    pairs = list(zip(*sides, strict=True))[:6]
    given = [*pairs, pairs[0], ("我" * 100, "I"), ("", "")]
    write_split(tmp_path, "odd", given)
    found = evaluate_translator(translator, tmp_path, "odd", beam=2)
    assert (found.split, found.sentences, found.loss_pairs) == ("odd", 9, 7)
    assert found.translations == [one.text for one in translator.translate([src for src, _ in given], beam=2)]
    expected = score_translations(found.translations, [tgt for _, tgt in given])
    assert found.scores == expected
    assert found.tokens_per_second > 0


def test_the_loss_is_the_mean_over_target_pieces(translator: Translator, toy_data: Path) -> None:
    found = evaluate_translator(translator, toy_data, "test", beam=1)
    total, count = 0.0, 0
    files = [(toy_data / f"test.{name}").read_text(encoding="utf-8").splitlines() for name in ("zh", "en")]
    for src, tgt in zip(*files, strict=True):
        batch = collate([translator.tokenizers.src.encode(src)], [translator.tokenizers.tgt.encode(tgt)])
        with torch.inference_mode():
            log_probs = translator.model(batch.src_ids, batch.tgt_ids)[0].log_softmax(-1)
        total -= float(log_probs.gather(1, batch.targets[0, :, None]).sum())
        count += batch.target_count
    assert found.loss == pytest.approx(total / count, rel=1e-5)
    assert math.isfinite(found.loss)


def test_bleu_while_training_is_that_of_greedy_translations(translator: Translator, toy_data: Path) -> None:
    tree = {**RECIPE, "validation": {"monitor": "bleu", "max_sentences": 5}}
    job = prepare_job(tree, "here", toy_data)
    sides = [(toy_data / f"valid.{name}").read_text(encoding="utf-8").splitlines()[:5] for name in ("zh", "en")]
    texts = [one.text for one in translator.translate(sides[0], beam=1)]
    with torch.inference_mode():
        found = job.work().evaluate(translator.model)
    assert found["bleu"] == score_translations(texts, sides[1]).bleu
