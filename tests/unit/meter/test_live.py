"""Bytes that live, against what tensors say of themselves and PyTorch's own tracker."""

import torch

from clearhead.meter.live import Live, bytes_of, storage_of


def test_storages_are_counted_once_and_forgotten() -> None:
    x = torch.ones(100)
    with Live({"there": [x, x[:50]]}) as live:
        assert (live.total, live.now["there"]) == (400, 400)
        live.phase = "a"
        y = x + 1
        z = y.view(10, 10)
        assert (live.total, live.now["made in a"]) == (800, 400)
        del y
        assert live.total == 800
        del z
        assert (live.total, live.peak) == (400, 800)


def test_the_peak_says_what_and_where() -> None:
    with Live({}) as live:
        live.phase = "first"
        x = torch.ones(100)
        live.relabel(x, "kept")
        live.phase = "second"
        float((x * 2 + 1).sum())
    assert (live.peak_phase, live.peak_operator, live.peak) == ("second", "aten.add.Tensor", 1200)
    assert live.at_peak == {"made in first": 0, "kept": 400, "made in second": 800}


def test_what_was_there_keeps_its_label() -> None:
    x = torch.ones(4)
    live = Live({"there": [x]})
    live.relabel(x, "other")
    assert dict(live.now) == {"there": 16}


def test_bytes_of_views() -> None:
    x = torch.ones(10, 10)
    assert bytes_of([x, x.T, x[0]]) == 400
    assert storage_of(x) == storage_of(x[0]) != storage_of(x.clone())
