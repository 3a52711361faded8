"""The lesson on long texts is red for a mask that leaks, a cache that forgets, and pairs cut in the middle."""

from typing import Any

import pytest
import torch

from clearhead.data import corpus
from clearhead.models import gpt
from clearhead.nn.cache import LayerCache
from tests.lessons import failing


def test_a_mask_that_leaks_between_documents_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_of_it(documents: torch.Tensor) -> torch.Tensor:
        return torch.ones(documents.shape[0], 1, documents.shape[1], documents.shape[1], dtype=torch.bool)

    monkeypatch.setattr(gpt, "document_mask", all_of_it)
    assert failing("over-long") == {"isolated"}


def test_a_cache_that_forgets_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(cache: LayerCache, keys: torch.Tensor, values: torch.Tensor) -> Any:
        return keys, values

    monkeypatch.setattr(LayerCache, "append", forgets)
    assert failing("over-long") == {"carried"}


def test_pairs_cut_in_the_middle_are_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def halves(text: str) -> list[str]:
        return [text[: len(text) // 2], text[len(text) // 2 :]]

    monkeypatch.setattr(corpus, "split_sentences", halves)
    assert failing("over-long") == {"whole"}
