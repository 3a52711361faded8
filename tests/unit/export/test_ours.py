"""Our models as a runtime: a row does not depend on the others, greedy texts are those of the plain loop."""

import pytest
import torch

from clearhead.export.ours import BATCH, Ours, batches, next_of, padded
from clearhead.export.runtime import Row
from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining
from tests.small import VOCAB, assert_near, random_rows, shake, small, small_gpt

SIZES = {"d_model": 16, "d_ff": 24, "n_heads": 2, "n_layers": 2, "max_seq_len": 16}
CROSSED = [Row([*ids, 2], [1, *ids[:2]]) for ids in random_rows([5, 2, 8])]
PLAIN = [Row(ids) for ids in random_rows([5, 2, 8])]
NEVER = [0, 1, 3]


def test_rows_of_like_length_are_read_together() -> None:
    rows = [Row([5] * (BATCH // 2)), Row([5]), Row([5] * (BATCH // 2)), Row([5, 5])]
    assert [sorted(batch) for batch in batches(rows)] == [[1, 3], [0, 2]]
    ids, mask = padded([[5, 6], [7]])
    assert (ids.tolist(), mask.tolist()) == ([[5, 6], [7, 0]], [[True, True], [True, False]])
    assert (next_of(Row([4, 5, 6]), 2), next_of(Row([4, 2], [1, 5, 6]), 2)) == ([5, 6], [5, 6, 2])


@torch.no_grad()
@pytest.mark.parametrize("crossed", [True, False])
def test_a_row_is_computed_as_if_alone(crossed: bool) -> None:
    model = small(position="learned") if crossed else small_gpt()
    rows = CROSSED if crossed else PLAIN
    ours = Ours(model, ends=[2], never=NEVER)
    for row, together, chosen in zip(rows, ours.outputs(rows), ours.giving("log_probs").outputs(rows), strict=True):
        ids = torch.tensor([row.ids])
        alone = model(ids, torch.tensor([row.target])) if crossed else model(ids)
        assert_near(together, alone[0], 1e-5)
        pieces = next_of(row, 2)
        assert_near(chosen, alone[0].log_softmax(-1)[torch.arange(len(pieces)), torch.tensor(pieces)], 1e-5)


@torch.no_grad()
def test_an_encoders_states_and_its_heads() -> None:
    torch.manual_seed(0)
    config = BertConfig(**SIZES, n_segments=2)  # type: ignore[arg-type]
    masked = BertPretraining(config, vocab_size=VOCAB)
    classifier = BertClassifier(config, vocab_size=VOCAB, kind="regression", n_labels=1)
    for model in (masked, classifier):
        shake(model).eval()
        rows = [Row(row.ids, segments=[0, 0, *[1] * (len(row.ids) - 2)]) for row in PLAIN]
        ours = Ours(model, ends=[2], never=[], scale=(1.0, 0.0) if model is masked else (2.0, 5.0))
        assert ours.greedy(rows, [1, 1, 1]) is None
        states = ours.giving("states").outputs(rows)
        for row, logits, own in zip(rows, ours.outputs(rows), states, strict=True):
            out = model(torch.tensor([row.ids]), segments=torch.tensor([row.segments]))
            assert_near(logits, out.mlm if model is masked else out * 2 + 5, 1e-5)
            assert_near(ours.heads(own), logits, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("crossed", [True, False])
def test_greedy_texts_are_those_of_the_plain_loop(crossed: bool) -> None:
    model = small(seed=3, position="learned") if crossed else small_gpt(seed=3)
    rows, limits = (CROSSED if crossed else PLAIN), [6, 1, 4]
    for parameter in model.parameters() if crossed else ():
        parameter.data *= 2
    ours = Ours(model, ends=[2, 9], never=NEVER)
    wanted = []
    for row, limit in zip(rows, limits, strict=True):
        ids: list[int] = []
        while len(ids) < limit:
            if crossed:
                logits = model(torch.tensor([row.ids]), torch.tensor([[1, *ids]]))
            else:
                logits = model(torch.tensor([[*row.ids, *ids]]))
            piece = int(logits[0, -1].index_fill(0, torch.tensor(NEVER), -torch.inf).argmax())
            if piece in (2, 9):
                break
            ids.append(piece)
        wanted.append(ids)
    assert ours.greedy(rows, limits) == wanted
    assert len({tuple(ids) for ids in wanted}) > 1
