"""Steps and beams of runs: what translate and generate do, in every figure."""

import json
import math
from pathlib import Path

import pytest

from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.writing import BEAM, NEW, beam_of, steps_of

TEXT = "他喜欢书。"


def opened(run: Path, text: str | None = TEXT) -> Opened:
    return Opened.open(run, text, checkpoint="best", device="cpu")


def test_steps_are_those_of_a_greedy_translation(toy_run: Path) -> None:
    one = opened(toy_run)
    view, found = steps_of(one), one.trained.translate([TEXT], beam=1)[0]
    assert [step.chosen for step in view.steps] == found.target_ids
    assert view.written == found.text
    check_bytes(view)
    assert "grouped-query" in view.cache
    each = 2 * 2 * 2 * 16 * 4
    for number, step in enumerate(view.steps, 1):
        assert step.bytes_read == each * (number + len(found.source_pieces))
    lines = view.lines(80)
    assert any("the formula is what was measured" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_steps_are_those_of_greedy_generation(toy_lm_run: Path) -> None:
    one = opened(toy_lm_run)
    view = steps_of(one)
    (found,) = one.trained.generate([TEXT], GenerationConfig(max_new=NEW), sampling=SamplingConfig(temperature=0.0))
    assert [step.chosen for step in view.steps] == found.ids[: len(view.steps)]
    assert len(view.steps) == len(found.ids) or len(view.steps[-1].input_ids) == 48
    check_bytes(view)


def check_bytes(view) -> None:
    for step in view.steps:
        assert step.measured_read == step.bytes_read > 0
        assert step.measured_written == step.bytes_written > 0


def test_the_tree_is_that_of_a_translation(toy_run: Path) -> None:
    one = opened(toy_run)
    view, found = beam_of(one), one.trained.translate([TEXT], beam=BEAM)[0]
    (end,) = view.returned
    path = [view.nodes[at] for at in view._path(end)]
    assert [node["id"] for node in path] == found.target_ids
    assert [node["piece"] for node in path] == found.pieces
    assert math.fsum(node["log_prob"] for node in path) == pytest.approx(found.score, abs=1e-6)
    assert path[-1]["score"] == pytest.approx(found.score, abs=1e-6)
    assert path[-1]["rank_score"] == pytest.approx(found.rank_score, abs=1e-6)
    assert {node["best"] for node in path} == {1}
    assert json.loads(json.dumps(view.as_dict()))["nodes"] == view.nodes


def test_the_tree_is_that_of_a_text(toy_lm_run: Path) -> None:
    one = opened(toy_lm_run)
    view = beam_of(one)
    (found,) = one.trained.generate([TEXT], GenerationConfig(max_new=NEW, beam=BEAM))
    assert [view.nodes[at]["id"] for at in view._path(view.returned[0])] == found.ids
    assert view.nodes[view.returned[0]]["score"] == pytest.approx(math.fsum(found.log_probs), abs=1e-5)
    lines = view.lines(80)
    assert f"result 1: score {view.nodes[view.returned[0]]['score']:.4f}" in " ".join(lines)


def test_who_writes_nothing_says_so(toy_masked_run: Path, toy_run: Path) -> None:
    for make, what in ((steps_of, "steps"), (beam_of, "beam")):
        with pytest.raises(ModelError, match=f"view '{what}': a BERT writes no text"):
            make(opened(toy_masked_run))
        with pytest.raises(UsageError, match=f"view '{what}': needs a TEXT"):
            make(opened(toy_run, None))
