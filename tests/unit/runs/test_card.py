"""Model cards from plain values."""

from pathlib import Path

from clearhead.runs.card import CardFacts, imported_card, trained_card

FACTS = CardFacts("A language model", "2 layers", "char, 40 pieces", ['generate {} "..."'])


def test_a_card_says_what_was_trained_and_how_to_use_it(tmp_path: Path) -> None:
    words = {"about": "For a test.", "parameters": 12345, "steps": 7, "minutes": 0.5}
    card = trained_card(tmp_path, FACTS, **words, scores={"loss": 1.25}, text=["9 lines read"])
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
    assert "`loss.png` the curves" in trained_card(tmp_path, FACTS, **words, scores={}, text=[])


def test_the_card_of_an_import_says_what_was_read(tmp_path: Path) -> None:
    card = imported_card(tmp_path, FACTS, ["148 tensors loaded"])
    assert "A language model that was not trained here but imported." in card
    assert "    148 tensors loaded" in card
    assert f'    clearhead generate {tmp_path} "..."' in card
