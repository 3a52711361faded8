"""Steps draw what the native engine draws, from the same numbers."""

from pathlib import Path

import pytest

from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import DataError, UsageError
from clearhead.tasks.translation.search import drawing
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

WARM = SamplingConfig(temperature=1.3, top_k=30, seed=5)


@pytest.fixture(scope="module")
def eager(toy_run: Path) -> Translator:
    return Translator.load(toy_run, device="cpu", engine="torch")


@pytest.fixture(scope="module")
def lines(toy_data: Path) -> list[str]:
    return (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:16]


@NATIVE
def test_steps_draw_what_the_engine_draws(eager: Translator, toy_run: Path, lines: list[str]) -> None:
    engine = Translator.load(toy_run, device="cpu", engine="native")
    for config in (WARM, SamplingConfig(temperature=0.9, seed=1), SamplingConfig(temperature=2.0, top_p=0.9, seed=2)):
        drawn, expected = (each.sample(lines, config) for each in (eager, engine))
        for one, other in zip(drawn, expected, strict=True):
            assert (one.text, one.pieces, one.complete) == (other.text, other.pieces, other.complete)
            assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
    assert len({one.text for one in drawn}) > 8


def test_a_text_has_its_own_numbers(eager: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    together = [one.text for one in eager.sample(lines, WARM)]
    assert together != [one.text for one in eager.sample(lines, SamplingConfig(temperature=1.3, top_k=30, seed=6))]
    monkeypatch.setattr(drawing, "BATCH_TOKENS", 40)
    assert [one.text for one in eager.sample(lines[8:], WARM, numbers=range(8, 16))] == together[8:]
    assert [one.text for one in eager.sample([lines[9]], WARM, numbers=[9])] == together[9:10]
    with pytest.raises(UsageError, match="numbers: 1 for 2 texts"):
        eager.sample(lines[:2], WARM, numbers=[3])


def test_whole_texts_are_drawn(eager: Translator, lines: list[str]) -> None:
    """Long ones in parts, each from numbers of its own; empty ones stay empty; characters are whole."""
    repeated = "".join(lines[:8]) * 3
    long, empty, blank = eager.sample([repeated, "", "  "], SamplingConfig(temperature=0.7))
    assert long.parts > 1
    assert len(long.of_parts) == long.parts
    assert (empty.text, blank.text.strip()) == ("", "")
    again = eager.sample([lines[0], repeated], SamplingConfig(temperature=0.7), numbers=[4, 0])[1]
    assert again == long
    hot = eager.sample(lines, SamplingConfig(temperature=50.0, seed=3))
    assert not any("\ufffd" in one.text for one in hot)
    assert {len(one.log_probs) == len(one.target_ids) for one in hot} == {True}
    cold = eager.sample(lines, SamplingConfig(temperature=0.0))
    assert [one.text for one in cold] == [one.text for one in eager.translate(lines, beam=1, split="overlong")]


def test_what_cannot_be_read_is_told(eager: Translator) -> None:
    with pytest.raises(DataError, match="text 2"):
        eager.sample(["我", "\ud800"], WARM)
    failed: list[int] = []
    texts = eager.sample(["\ud800", "我"], WARM, on_error=lambda number, _: failed.append(number))
    assert failed == [0]
    assert texts[0].text == ""
