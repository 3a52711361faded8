"""The verb: text and JSON, what does not fit, what is not a size."""

import json

import pytest

from tests.toy import assert_one_line, clearhead


@pytest.mark.long
def test_text_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "demo", "--devices", "2", "--rate", "0.5", "--memory", "100MB"]
    said = clearhead(capsys, *words)
    assert said.code == 0, said
    assert "2 devices (ddp), each: parameters " in said.out
    assert "does not fit" in said.out or "fits" in said.out
    found = json.loads(clearhead(capsys, *words, "--json").out)
    assert found["memory"]["gradients"] == 4 * found["parameters"]
    assert found["seconds_per_step"] == pytest.approx(found["flops_per_step"] / 2 / 0.5e12)


def test_wrong_values_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(clearhead(capsys, "plan", "demo", "--memory", "much"), 2, "--memory 'much'", "24GB")
    assert_one_line(clearhead(capsys, "plan", "ngram", "--rate", "1"), 2, "only Transformers are forecast")
