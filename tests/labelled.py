"""Classifiers on a few labelled lines: what tests of recipes and of what is minimized share."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from clearhead.config import merge
from clearhead.data.labels.labelled import read_labelled
from clearhead.data.labels.labelled_batches import LabelledBatch, LabelledBatches, LabelledRows, sequential_batches
from clearhead.data.labels.labels import Labels
from clearhead.models.bert import BertClassifier
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.classify.recipe import (
    ClassifyRecipe,
    build_classifier,
    encode,
    parse_classify,
    train_on_lines,
)
from tests.small import shake
from tests.toy import CLASSIFY, write_labelled

NUMBERS = {"data": {"kind": "number"}, "validation": {"monitor": "pearson"}}


STARTED = {"start": "somewhere"}


def recipe(*changes: dict[str, Any]) -> ClassifyRecipe:
    tree: dict[str, Any] = CLASSIFY
    for change in changes:
        tree = merge(tree, change)
    return parse_classify(tree, "here")


def source_of(folder: Path, lines: list[str], found: ClassifyRecipe) -> tuple[BertClassifier, LabelledRows, Labels]:
    data = write_labelled(folder, lines, lines)
    text = read_labelled(data, split="train", config=found.data)
    tokenizer = train_on_lines(text, found.tokenizer)
    torch.manual_seed(0)
    model = build_classifier(found, TextParts(tokenizer, labels=text.made_of).sizes)
    shake(model)
    return model.eval(), encode(text, found, tokenizer), text.made_of


def batch_of(source: LabelledRows, rows: list[int]) -> LabelledBatch:
    plan = sequential_batches(source.rows.lengths[rows] - 1, batch_tokens=9999)
    part = LabelledBatches(source, plan)
    object.__setattr__(plan, "order", np.array(rows, np.int32))
    return part[0]
