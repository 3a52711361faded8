"""Every view of every family: made, as text and as JSON, and nothing changed."""

import json
from pathlib import Path

import pytest
import torch

from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.views import VIEWS

WRITING = ("steps", "beam")  # what a BERT cannot do


@pytest.mark.parametrize(
    ("what", "family"),
    [
        (what, family)
        for what in VIEWS
        for family in ("toy_run", "toy_lm_run", "toy_masked_run")
        if not (what in WRITING and family == "toy_masked_run")
    ],
)
def test_looking_changes_nothing(what: str, family: str, request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(family)
    opened = Opened.open(run, "他喜欢书。", checkpoint="best", device="cpu")
    state = {name: tensor.clone() for name, tensor in opened.model.state_dict().items()}
    with torch.inference_mode():
        before = opened.model(**opened.inputs)
        before = before if isinstance(before, torch.Tensor) else before[0]
    view = VIEWS[what](opened)
    assert view.lines(80)
    assert json.loads(json.dumps(view.as_dict()))
    assert "<section" in view._repr_html_()
    with torch.inference_mode():
        after = opened.model(**opened.inputs)
        after = after if isinstance(after, torch.Tensor) else after[0]
    assert torch.equal(before, after)
    assert state.keys() == opened.model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in opened.model.state_dict().items())
    assert not any(module._forward_hooks for module in opened.model.modules())
