"""Model cards from plain values."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.runs.card import CardFacts, Training, imported_card, trained_card

FACTS = CardFacts("A language model", "2 layers", "char, 40 pieces", ['generate {} "..."'])


def test_a_card_says_what_was_trained_and_how_to_use_it(tmp_path: Path) -> None:
    done = Training(parameters=12345, steps=7, minutes=0.5, scores={"loss": 1.25})
    card = trained_card(tmp_path, FACTS, about="For a test.", done=done, text=["9 lines read"])
    for part in (
        "A language model, trained with clearhead. For a test.",
        "| model | 2 layers, 12,345 parameters |",
        "| trained | 7 steps, 0.5 minutes |",
        "| valid | loss 1.250 |",
        "    9 lines read",
        f'    clearhead generate {tmp_path} "..."',
    ):
        assert part in card
    assert "loss.png" not in card
    (tmp_path / "loss.png").touch()
    card = trained_card(tmp_path, FACTS, about="", done=replace(done, scores={}), text=[])
    assert "`loss.png` the curves" in card
    assert "| valid | not evaluated yet |" in card


def test_samples_stand_before_how_to_use_it_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done, samples = Training(1, 1, 0.0, {}), ["1  finished", "   = not evaluated yet"]
    without = trained_card(tmp_path, FACTS, about="", done=done, text=["9 lines read"])
    card = trained_card(tmp_path, FACTS, about="", done=done, text=["9 lines read"], samples=samples)
    block = "after so many steps:\n\n    1  finished\n       = not evaluated yet\n\nUse it:"
    assert block in card
    assert "after so many steps" not in without
    monkeypatch.setenv("LANG", "zh_CN.UTF-8")
    chinese = trained_card(tmp_path, FACTS, about="", done=done, text=["9 lines read"], samples=samples)
    assert "    1  finished\n       = not evaluated yet\n" in chinese, "texts of a corpus are not translated"
    assert "Lines of the valid split" not in chinese


def test_the_card_of_an_import_says_what_was_read(tmp_path: Path) -> None:
    card = imported_card(tmp_path, FACTS, ["148 tensors loaded"])
    assert "A language model that was not trained here but imported." in card
    assert "    148 tensors loaded" in card
    assert f'    clearhead generate {tmp_path} "..."' in card
