"""The lesson on the dispatcher is red where kernels are mistaken, and where one runs that is not the device's."""

import pytest
import torch

from clearhead.inspect import dispatch
from clearhead.lessons import dispatch as lesson
from clearhead.nn.mlp import MLP
from tests.lessons import failing


def test_a_view_that_mistakes_kernels_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_kernel", lambda operator, device: "its own")
    assert failing("dispatch") == {"composite", "views"}


def test_an_operator_that_runs_another_devices_kernel_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, library = lesson.twice()
    monkeypatch.setattr(lesson, "twice", lambda: (lambda x: operator(torch.zeros(x.shape)), library))
    assert failing("dispatch") == {"device", "missing"}


def test_a_network_without_a_product_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MLP, "forward", lambda self, x: x.relu())
    assert failing("dispatch") == {"composite", "views"}
