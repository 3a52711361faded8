"""What a classifier in training says of a few lines of the valid split."""

from dataclasses import replace

import torch

from clearhead.data.labels.labelled_batches import LabelledRows
from clearhead.data.labels.labels import Labels
from clearhead.tasks.classify.objective import predict
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.events import SampledLine
from clearhead.training.samples.choose import in_drawn_order, sampled_line


def sampled_rows(source: LabelledRows, count: int, seed: int) -> LabelledRows:
    """Returns ``count`` lines of a middling length, drawn from ``seed``; at least one."""
    order = in_drawn_order(source.rows.lengths, seed)
    numbers = [row for row, _ in zip(order, range(count), strict=False)]
    rows = replace(source.rows, spans=source.rows.spans[numbers], cut=source.rows.cut[numbers])
    return replace(source, rows=rows, labels=source.labels[numbers])


def classified_samples(
    model: torch.nn.Module, source: LabelledRows, labels: Labels, tokenizer: Tokenizer, *, batch_tokens: int
) -> tuple[list[SampledLine], dict[str, float]]:
    """Classifies each line.

    Returns:
        The lines as the model reads them, with 1 for a right class and 0 for a wrong one, and the share of right ones;
        no scores where labels are numbers.
    """
    predicted = predict(model, source, labels, batch_tokens=batch_tokens)
    made: list[SampledLine] = []
    for values, label, (a, a_end, b, b_end) in zip(predicted.tolist(), source.labels, source.rows.spans, strict=True):
        given = tokenizer.decode(source.rows.ids[a:a_end].tolist())
        if source.rows.pair:
            given += f" | {tokenizer.decode(source.rows.ids[b:b_end].tolist())}"
        if not labels.classes:
            made.append(sampled_line(given, f"{float(label):.4g}", f"{values[0]:.4g}"))
            continue
        best = max(range(len(values)), key=values.__getitem__)
        said = f"{labels.classes[best]} {values[best]:.2f}"
        made.append(sampled_line(given, labels.classes[int(label)], said, score=float(best == int(label))))
    scores = [line.score for line in made if line.score is not None]
    return made, {"right": sum(scores) / len(scores)} if scores else {}
