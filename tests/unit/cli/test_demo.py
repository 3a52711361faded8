"""``clearhead demo``: trains on the embedded corpus and talks; here a corpus and a model of seconds."""

from pathlib import Path

import pytest

from clearhead.data import demo_corpus
from tests.toy import HELD_OUT, clearhead, write_corpus

SMALL = [
    "model.d_model=16",
    "model.d_ff=16",
    "model.n_encoder_layers=1",
    "model.n_decoder_layers=1",
    "train.device=cpu",
]


def test_it_trains_traces_scores_and_says_what_to_try(
    toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small_corpus(folder: Path) -> None:
        sides = [(toy_data / f"train.{name}").read_text(encoding="utf-8").splitlines() for name in ("zh", "en")]
        write_corpus(folder, list(zip(*sides, strict=True)))

    monkeypatch.setattr(demo_corpus, "write_demo_corpus", small_corpus)
    monkeypatch.setenv("COLUMNS", "200")
    changes = [word for change in [*SMALL, "train.max_steps=3"] for word in ("--set", change)]
    said = clearhead(capsys, "demo", "--out", tmp_path / "run", "--seed", "5", *changes)
    assert said.code == 0, said
    for part in (
        "3. decoder, one row a step",
        "我吃了一个苹果 -> ",
        f"{HELD_OUT} held-out sentences: ",
        "% translated exactly, BLEU ",
        f"run directory: {tmp_path / 'run'}",
        f"clearhead translate {tmp_path / 'run'}",
        f"clearhead trace {tmp_path / 'run'}",
    ):
        assert part in said.out
    assert "seed = 5" in (tmp_path / "run" / "recipe.toml").read_text()
