"""Tokenizers of a run."""

from pathlib import Path

import pytest

from clearhead.data.corpus import read_parallel
from clearhead.runs.tokenizers import Tokenizers
from clearhead.tasks.translation import recipe as translation
from clearhead.tasks.translation.recipe import train_tokenizers
from clearhead.text.tokenizer import TokenizerConfig
from tests.small import random_rows
from tests.toy import PAIRS

SRC, TGT = random_rows([4, 9, 2, 6, 1], seed=1), random_rows([8, 2, 5, 1, 9], seed=2)


@pytest.mark.parametrize("joint", [True, False])
def test_tokenizers_come_back_joint_or_apart(
    joint: bool, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translation, "TOKENIZER_LINES", PAIRS // 2)  # every second line
    files = read_parallel(toy_data, stem="train", src="zh", tgt="en")
    made = train_tokenizers(files, PAIRS, TokenizerConfig(vocab_size=400, joint=joint))
    made.save(tmp_path)
    found = Tokenizers.load(tmp_path)
    assert (found.src is found.tgt) is (made.src is made.tgt) is joint
    for ours, theirs in ((made.src, found.src), (made.tgt, found.tgt)):
        assert ours.encode("我吃 an apple") == theirs.encode("我吃 an apple")
    assert (len(made.tgt.encode("the")) < len(made.src.encode("the"))) is not joint
