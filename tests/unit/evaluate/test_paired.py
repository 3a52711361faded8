"""Scores from what single lines count for: BLEU as sacreBLEU's, losses by their unit, intervals that hold the loss."""

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from clearhead.evaluate.paired import Accuracy, Bleu, Chrf, Pearson, Perplexity, compared, paired

REFERENCES = ["the cat sat on the mat today", "a dog ran home in the rain", "he is not here, and she is"] * 4
WORSE = ["the cat sat on a mat today", "the dog ran home in the rain", "he is not there, and she is"] * 4


@pytest.mark.parametrize("tokenize", ["13a", "char", "none"])
def test_bleu_of_summed_counts_is_sacrebleus(tokenize: str) -> None:
    metric = Bleu(REFERENCES, tokenize)  # type: ignore[arg-type]
    theirs = BLEU(tokenize=tokenize, force=tokenize == "none")
    for texts in (WORSE, REFERENCES, ["x"] * 12, [""] * 12):
        assert metric.score(metric.counts(texts)) == pytest.approx(theirs.corpus_score(texts, [REFERENCES]).score)
    assert metric.signature == str(theirs.get_signature())


def test_a_loss_is_in_its_unit() -> None:
    counts = np.array([[2.0, 4], [1, 2]])
    assert Perplexity().score(counts) == pytest.approx(math.exp(0.5))
    assert Perplexity().loss(4.0, 5.0) == pytest.approx(25.0)
    assert Accuracy().score(np.array([[1.0, 1], [0, 1]])) == 50.0
    assert Accuracy().loss(50.0, 40.0) == 10.0
    assert Pearson().score(np.array([[1.0, 2], [2, 4], [3, 6]])) == pytest.approx(100)
    assert Pearson().score(np.array([[1.0, 2], [2, 2]])) == 0.0


def test_an_interval_holds_the_loss_and_is_narrow_where_all_lines_lose_alike() -> None:
    metric = Bleu(REFERENCES, "13a")
    quality = paired(metric, metric.counts(REFERENCES), metric.counts(WORSE))
    assert quality.before == pytest.approx(100)
    assert 0 < quality.interval[0] < quality.loss < quality.interval[1] < 100
    same = paired(metric, metric.counts(WORSE), metric.counts(WORSE))
    assert (same.loss, same.interval) == (0.0, (0.0, 0.0))
    totals = np.array([[2.0, 1]] * 9)
    alike = paired(Perplexity(), totals, totals + np.array([0.1, 0]))
    assert alike.interval == pytest.approx((alike.loss, alike.loss))


def test_chrf_of_summed_counts_is_sacrebleus() -> None:
    metric, theirs = Chrf(REFERENCES), CHRF()
    for texts in (WORSE, REFERENCES, ["x"] * 12, [""] * 12):
        assert metric.score(metric.counts(texts)) == pytest.approx(theirs.corpus_score(texts, [REFERENCES]).score)
    short = ["a", "", "我 吃了", "cat"]
    for texts in (["a b", "b", "我 吃苹果了吗", "cats are here"], ["", "", "我", "cat"]):
        assert Chrf(short).score(Chrf(short).counts(texts)) == pytest.approx(theirs.corpus_score(texts, [short]).score)
    assert metric.signature == str(theirs.get_signature())


def test_the_paired_bootstrap_is_sacrebleus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SACREBLEU_SEED", raising=False)
    other = [text.replace("rain", "snow") for text in WORSE[:6]] + REFERENCES[6:9] + WORSE[9:]
    ours = {"BLEU": Bleu(REFERENCES, "13a"), "chrF2": Chrf(REFERENCES)}
    systems = [("first", WORSE), ("other", other)]
    _, results = PairedTest(systems, {"BLEU": BLEU(), "chrF2": CHRF()}, [REFERENCES], "bs", n_samples=300)()
    for name, metric in ours.items():
        found = compared(metric, metric.counts(WORSE), metric.counts(other), samples=300)
        first, second = results[name]
        assert found.difference == pytest.approx(second.score - first.score)
        assert found.p == pytest.approx(second.p_value)
        assert found.interval[0] < found.difference < found.interval[1]
    same = compared(ours["BLEU"], ours["BLEU"].counts(WORSE), ours["BLEU"].counts(WORSE), samples=50)
    assert (same.difference, same.interval, same.p) == (0.0, (0.0, 0.0), 1.0)
