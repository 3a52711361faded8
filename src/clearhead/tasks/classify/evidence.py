"""Lines on which an exported classifier is compared."""

from pathlib import Path
from typing import cast

import numpy as np

from clearhead.data.documents import Split
from clearhead.data.labels.labelled import read_labelled
from clearhead.data.segments import lay_out, marks
from clearhead.evaluate.paired import Accuracy, Pearson
from clearhead.export.runtime import Row
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.recipe import encode
from clearhead.tasks.evidence import Evidence, random_ids


def classifier_evidence(trained: Classifier, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
    """Returns lines of a split on which an exported model is compared; see ``LearnedFamily.evidence``."""
    tokenizer, special, labels = trained.tokenizer, trained.tokenizer.ids, trained.labels
    scale = (1.0, 0.0) if labels.classes else (labels.deviation, labels.mean)
    if data is None:
        drawn = random_ids(
            tokenizer.vocab_size, len(special.never) + 1, trained.recipe.model.max_seq_len - marks(pair=False)
        )
        rows = [Row([special.cls, *ids, special.sep]) for ids in drawn]
        return Evidence(rows=rows, ends=[special.eos], never=[], scale=scale)
    text = read_labelled(data, split=cast(Split, split), config=trained.recipe.data, train=labels)
    text = text.subset(range(min(count, len(text))))
    encoded = encode(text, trained.recipe, tokenizer).rows
    laid = lay_out(encoded.ids, encoded.spans, special=special, pair=encoded.pair)
    lengths = laid.mask.sum(axis=1).tolist()
    rows = [
        Row(ids[:length].tolist(), segments=segments[:length].tolist())
        for ids, segments, length in zip(laid.ids, laid.segments, lengths, strict=True)
    ]
    texts = [part for line in text.lines for part in (line.text, line.pair) if part is not None]
    return Evidence(
        rows=rows,
        ends=[special.eos],
        never=[],
        metric=Accuracy() if labels.classes else Pearson(),
        targets=[[label] for label in np.asarray(text.labels).tolist()],
        texts=texts,
        ids=tokenizer.encode_batch(texts),
        scale=scale,
    )
