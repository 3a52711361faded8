"""The lesson on what came before Transformers is red for an attention, a count or a reader that is none."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.lessons import before_transformers
from clearhead.models.ngram import Ngram, NgramConfig
from clearhead.models.rnn import Alignment, RNNTranslator
from clearhead.nn.attention import SelfAttention
from tests.lessons import failing

LITTLE: dict[str, Any] = {"lines": 200, "steps": 1}


@pytest.mark.unchecked
def test_an_attention_that_looks_everywhere_alike_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def mean(self: Alignment, query: Tensor, keys: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return memory[:, 0].mean(1) + 0 * query

    monkeypatch.setattr(Alignment, "forward", mean)
    assert failing("before-transformers", lines=200) - {"counts", "unseen"} == {"attention"}


@pytest.mark.unchecked
def test_a_translator_that_is_told_the_truth_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = before_transformers.repeated

    def told(model: Any, source: Tensor, **_: bool) -> list[float]:
        return repeated(model, source)

    monkeypatch.setattr(before_transformers, "repeated", told)
    assert failing("before-transformers", lines=200) - {"counts", "unseen"} == {"errors"}


@pytest.mark.unchecked
def test_counts_of_bigrams_alone_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Ngram.train

    def bigrams(tokens: Any, config: NgramConfig, *, vocab_size: int) -> Ngram:
        return train(tokens, NgramConfig(min(config.order, 2)), vocab_size=vocab_size)

    assert {"counts", "unseen"}.isdisjoint(failing("before-transformers", steps=1))
    monkeypatch.setattr(Ngram, "train", bigrams)
    assert failing("before-transformers", steps=1) & {"counts", "unseen"} == {"counts"}


@pytest.mark.unchecked
def test_an_attention_that_fades_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = SelfAttention.forward

    def fading(self: SelfAttention, x: Tensor, **more: Any) -> Tensor:
        ages = torch.arange(x.shape[1]).flip(0)[:, None]
        return forward(self, x * 0.7**ages, **more)

    assert "far" not in failing("before-transformers", **LITTLE)
    monkeypatch.setattr(SelfAttention, "forward", fading)
    assert "far" in failing("before-transformers", **LITTLE)


@pytest.mark.unchecked
def test_a_decoder_that_sees_all_states_is_no_fixed_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = RNNTranslator.begin

    def all_states(self: Any, src_ids: Tensor, *rest: Any, **more: Any) -> Any:
        state = begin(self, src_ids, *rest, **more)
        state.source = (state.source[0], nn.functional.one_hot(src_ids)) if len(state.source) == 1 else state.source
        return state

    monkeypatch.setattr(RNNTranslator, "begin", all_states)
    assert "vector" in failing("before-transformers", **LITTLE)
