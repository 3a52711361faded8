"""Looking inside by the native interface: what the views of inspect show, within limits."""

from dataclasses import replace
from pathlib import Path

import pytest

from clearhead.errors import DataError, ModelError
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.native.looking import MOST, attention, beam, trace
from clearhead.tasks.sample import Sample, Shape
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import attention_of
from clearhead.verbs.look.writing import beam_of, steps_of

TEXT = "他喜欢书。"


@pytest.fixture(scope="module")
def opened(toy_run: Path) -> Opened:
    return Opened.open(toy_run, checkpoint="best", device="cpu")


@pytest.fixture(scope="module")
def reading(opened: Opened) -> Opened:
    return replace(opened, sample=Sample(TEXT, Shape()))


def test_attention_is_the_view_s(opened: Opened, reading: Opened) -> None:
    own = attention_of(reading, worth=False).picture().scene()
    found = attention(opened, Fields({"text": TEXT}))
    assert {name: found[name] for name in own} == own
    assert found["loss"] is None
    assert found["words"]["mixed"] == "混合"
    worth = attention(opened, Fields({"text": TEXT, "worth": True}))
    assert worth["loss"] == pytest.approx(attention_of(reading).loss)
    assert all(fact["loss"] is not None for panel in worth["panels"] for fact in panel["facts"])


def test_a_part_of_it_is_the_same_numbers(opened: Opened) -> None:
    whole = {panel["name"]: panel for panel in attention(opened, Fields({"text": TEXT}))["panels"]}
    found = attention(opened, Fields({"text": TEXT, "side": "cross", "layer": 1, "head": 2}))
    (panel,) = found["panels"]
    assert panel["name"] == "decoder.layers.1.cross_attn"
    assert panel["weights"] == whole[panel["name"]]["weights"][2:3]
    assert (found["focus"], found["shown"]) == ([0], [0])
    layers = attention(opened, Fields({"text": TEXT, "layer": 0}))["panels"]
    assert [each["name"] for each in layers] == [name for name in whole if ".0." in name]
    causal = attention(opened, Fields({"text": TEXT, "side": "decoder"}))
    assert all(panel["kind"] == "causal" for panel in causal["panels"])
    assert all(0 <= at < len(causal["panels"]) for at in causal["focus"])
    assert len(causal["shown"]) == len(causal["panels"])


@pytest.mark.parametrize("fields", [{"layer": 9}, {"head": 30}, {"side": "encoder", "layer": 1}])
def test_what_the_model_does_not_have(opened: Opened, fields: dict[str, object]) -> None:
    with pytest.raises(DataError, match="no such attention"):
        attention(opened, Fields({"text": TEXT, **fields}))


def test_steps_are_the_view_s(opened: Opened, reading: Opened) -> None:
    own, found = steps_of(reading), trace(opened, Fields({"text": TEXT}))
    assert found["steps"] == own.scene()["steps"]
    assert (found["written"], str(found["cache"])) == (own.written, own.cache)
    assert [step["read"] for step in found["steps"]] == [step.bytes_read for step in own.steps]


def test_the_tree_is_the_view_s_as_wide_as_asked(opened: Opened, reading: Opened) -> None:
    for wide in (1, 3, 16):
        own, found = beam_of(reading, beam=wide), beam(opened, Fields({"text": TEXT, "beam": wide}))
        assert (found["nodes"], found["returned"]) == (own.nodes, own.returned)
        assert sum(found["counts"].values()) == len(own.nodes)
    with pytest.raises(RequestError, match="from 1 to 16"):
        beam(opened, Fields({"text": TEXT, "beam": 17}))


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text(opened: Opened, text: str) -> None:
    with pytest.raises(DataError, match="is empty"):
        trace(opened, Fields({"text": text}))


def test_a_text_of_too_many_pieces(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST == 128
    monkeypatch.setattr("clearhead.serve.native.looking.MOST", 4)
    with pytest.raises(DataError, match=r"makes \d+ pieces, at most 4"):
        attention(opened, Fields({"text": TEXT}))


def test_a_model_that_reads_has_attention_and_no_steps(toy_masked_run: Path) -> None:
    bert = Opened.open(toy_masked_run, checkpoint="best", device="cpu")
    assert len(attention(bert, Fields({"text": "He ate an apple."}))["panels"]) == 2
    with pytest.raises(ModelError, match="writes no text"):
        trace(bert, Fields({"text": "He ate an apple."}))
