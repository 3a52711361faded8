"""The lesson on tokenizers is red for one that changes the text, and for one that has learned no merges."""

import dataclasses
from typing import Any

import pytest

from clearhead.text import tokenizer
from tests.lessons import failing


def test_lower_case_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer.TokenizerConfig, "normalize", lambda config, text: text.lower())
    assert failing("tokens") == {"exact"}


def test_without_merges_a_piece_is_a_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    learn = tokenizer.learn

    def unmerged(lines: Any, kind: Any, **more: Any) -> Any:
        return dataclasses.replace(learn(lines, kind, **more), merges=[])

    monkeypatch.setattr(tokenizer, "learn", unmerged)
    assert failing("tokens") == {"between", "size", "bytes"}
