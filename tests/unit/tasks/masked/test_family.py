"""Masked language models as a family: a blank batch hides as many pieces as training does."""

from clearhead.tasks.masked.family import MASKED


def test_a_blank_batch_hides_what_training_hides() -> None:
    recipe = MASKED.parse({"masked": {"mask_fraction": 0.25}, "model": {"max_seq_len": 32}}, "here")
    batch = MASKED.blank(recipe, 4, 32)
    assert batch.target_count == len(batch.positions) == 32
    assert batch.next_labels is not None
    alone = MASKED.parse({"masked": {"next_sentence": False}}, "here")
    assert MASKED.blank(alone, 4, 32).next_labels is None


def test_rows_are_no_longer_than_a_batch() -> None:
    recipe = MASKED.parse({"start": "runs/x", "train": {"batch_tokens": 64}, "model": {"max_seq_len": 128}}, "here")
    assert MASKED.width(recipe) == 64
