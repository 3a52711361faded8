"""Lines on which a classifier of numbers is compared: labels stay numbers, in their own unit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearhead.data.labels.labels import Labels
from clearhead.evaluate.paired import Pearson
from clearhead.models.bert import BertClassifier
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.evidence import classifier_evidence


def test_numbers_keep_their_unit(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    lines = [
        f"{at / 2}\t{line.split(chr(9))[1]}"
        for at, line in enumerate((labelled / "valid.tsv").read_text().splitlines(keepends=True))
    ]
    (tmp_path / "valid.tsv").write_text("".join(lines))
    loaded = Classifier.load(toy_classifier)
    config = loaded.recipe.model
    model = BertClassifier(config, vocab_size=loaded.tokenizer.vocab_size, kind="regression", n_labels=1)
    recipe = replace(loaded.recipe, data=replace(loaded.recipe.data, kind="number"))
    numbers = replace(loaded, recipe=recipe, labels=Labels((), False, mean=3.0, deviation=2.0), model=model.eval())
    evidence = classifier_evidence(numbers, tmp_path, 4)
    assert [list(targets) for targets in evidence.targets] == [[0.0], [0.5], [1.0], [1.5]]
    assert isinstance(evidence.metric, Pearson)
    assert evidence.scale == (2.0, 3.0)
    assert evidence.judge(2, torch.tensor([[0.25]])) == (1.0, 0.25)
    assert classifier_evidence(numbers, None, 4).scale == pytest.approx((2.0, 3.0))
