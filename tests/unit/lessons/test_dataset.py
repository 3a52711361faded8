"""The lesson on data sets is red for a loader that leaves out a batch, and for a file that is read as a whole."""

import mmap
from pathlib import Path
from typing import Any

import pytest

from clearhead.data import loading
from clearhead.lessons import dataset
from tests.lessons import failing


def test_a_loader_that_leaves_out_a_batch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    loader = loading.DataLoader

    def shorter(*arguments: Any, sampler: range, **more: Any) -> Any:
        return loader(*arguments, sampler=sampler[1:], **more)

    monkeypatch.setattr(loading, "DataLoader", shorter)
    assert failing("dataset") == {"here"}


@pytest.mark.skipif(not dataset.PAGES.exists(), reason="the system does not say which pages are in memory")
def test_reading_the_whole_file_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    map_file = dataset.map_file

    def read(path: Path) -> mmap.mmap:
        whole = map_file(path)
        whole.find(bytes(1 << 20))  # looks at every page
        sum(whole[:: mmap.PAGESIZE])
        return whole

    monkeypatch.setattr(dataset, "map_file", read)
    assert failing("dataset") == {"mapped", "pages"}
