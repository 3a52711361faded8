"""Tokenizers and labels of a run: they come back, and damage is named."""

from pathlib import Path

import pytest

from clearhead.data.corpus import read_parallel
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError
from clearhead.runs.text_parts import (
    ModelSizes,
    TextParts,
    load_both_sides,
    load_labelled_parts,
    load_text_parts,
)
from clearhead.tasks.translation.recipe import train_tokenizers
from clearhead.text.tokenizer import TokenizerConfig
from tests.toy import PAIRS


@pytest.mark.parametrize("joint", [True, False])
def test_tokenizers_come_back_joint_or_apart(joint: bool, toy_data: Path, tmp_path: Path) -> None:
    files = read_parallel(toy_data, stem="train", src="zh", tgt="en")
    config = TokenizerConfig(vocab_size=400, joint=joint)
    parts = train_tokenizers(files, PAIRS, config, most=PAIRS // 2)  # every second line
    parts.save(tmp_path)
    made, found = parts.both, load_both_sides(tmp_path).both
    assert (found.src is found.tgt) is (made.src is made.tgt) is joint
    for ours, theirs in ((made.src, found.src), (made.tgt, found.tgt)):
        assert ours.encode("我吃 an apple") == theirs.encode("我吃 an apple")
    assert (len(made.tgt.encode("the")) < len(made.src.encode("the"))) is not joint


def test_labels_come_back_and_damage_is_named(toy_classifier: Path, tmp_path: Path) -> None:
    labels, tokenizer = Labels(("坏", "good"), True), load_text_parts(toy_classifier).tokenizer
    TextParts(tokenizer, labels=labels).save(tmp_path)
    assert load_labelled_parts(tmp_path).labels == labels
    for content in (b"", b"[]", b'{"classes": 3, "pairs": true}', b"\xff"):
        (tmp_path / "labels.json").write_bytes(content)
        with pytest.raises(ModelError, match=r"labels\.json'(: .*classes| is not)"):
            load_labelled_parts(tmp_path)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(ModelError, match=r"labels\.json' cannot be read: No such file"):
        load_labelled_parts(tmp_path)


def test_a_model_takes_its_sizes_from_the_text(toy_run: Path, toy_classifier: Path) -> None:
    both, labelled = load_both_sides(toy_run), load_labelled_parts(toy_classifier)
    assert both.sizes == ModelSizes(both.both.tgt.vocab_size, both.both.src.vocab_size, both.both.tgt.ids.pad)
    assert (labelled.sizes.vocab_size, labelled.sizes.labels) == (labelled.tokenizer.vocab_size, labelled.labels)
