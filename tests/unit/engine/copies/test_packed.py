"""The packed copy computes what the model computes, for all its parts, and leaves the model as it is."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.decode.decoding import CachedDecoding
from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.search import beam_search
from clearhead.engine.copies.linear import FastLinear
from clearhead.engine.copies.onednn import PackedLinear
from clearhead.engine.copies.packed import pack
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB, assert_near, padded, random_rows, small

VARIANTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"n_kv_heads": 1, "position": "rotary"}, {"norm": "rms", "activation": "swiglu", "bias": False}),
    ({"n_kv_heads": 2, "position": "alibi", "tie": "none"}, {"norm_position": "post", "activation": "gelu"}),
    ({"position": "rotary"}, {"attention": "qk_norm"}),
    ({"position": "learned", "tie": "decoder"}, {"attention": "additive", "mlp": False}),
    ({"n_kv_heads": 2}, {"norm": "group", "norm_groups": 2, "activation": "geglu"}),
    ({}, {"norm": "batch", "activation": "silu", "residual": False}),
]

GPTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"activation": "gelu_tanh"}),
    ({"position": "rotary", "n_kv_heads": 2, "tie": False}, {"norm": "rms", "activation": "swiglu", "bias": False}),
    ({"position": "rotary", "n_kv_heads": 1}, {"attention": "qk_norm", "norm_position": "post"}),
    ({"position": "alibi"}, {"attention": "additive"}),
]


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize(("sizes", "block"), VARIANTS)
def test_logits_are_those_of_the_model(sizes: dict[str, Any], block: dict[str, Any]) -> None:
    model = small(block=BlockConfig(**block), **sizes)
    before = copy.deepcopy(model.state_dict())
    packed = pack(model, PackedLinear)
    (src, mask), (tgt, _) = padded(random_rows([5, 2, 7])), padded(random_rows([4, 6, 1], seed=1))
    with torch.inference_mode():
        assert_near(packed(src, tgt, src_mask=mask), model(src, tgt, src_mask=mask))
        for sentences, beam in ((1, 1), (3, 1), (3, 2), (3, 15)):  # below and above the rows the layout is made for
            steps = [CachedDecoding(one, src[:sentences], mask[:sentences], beam=beam) for one in (packed, model)]
            for pieces in torch.randint(4, 13, (5, sentences * beam), generator=torch.Generator().manual_seed(beam)):
                assert_near(*(step.advance(pieces) for step in steps))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(parameter.requires_grad for parameter in packed.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_every_linear_layer_is_packed() -> None:
    packed = pack(small(), PackedLinear)
    assert [name for name, module in packed.named_modules() if type(module) is torch.nn.Linear] == []
    assert sum(isinstance(module, FastLinear) for module in packed.modules()) > 10


def test_searches_agree() -> None:
    model = small(n_kv_heads=2)
    found = []
    for one in (model, pack(model, PackedLinear)):
        with torch.inference_mode():
            decoding = CachedDecoding(one, *padded(random_rows([5, 2, 7])), beam=3)
        config = SearchConfig(3, 2)
        found.append(beam_search(decoding, config, limits=[9, 8, 7], bos_id=1, eos_id=2))
    assert [[one.ids for one in ranked] for ranked in found[0]] == [[one.ids for one in ranked] for ranked in found[1]]


@pytest.mark.parametrize(("sizes", "block"), GPTS)
def test_logits_are_those_of_the_gpt(sizes: dict[str, Any], block: dict[str, Any]) -> None:
    torch.manual_seed(0)
    config = GPTConfig(d_model=16, d_ff=32, n_heads=4, n_layers=2, max_seq_len=32, block=BlockConfig(**block), **sizes)
    model = GPT(config, vocab_size=VOCAB, pad_id=0).eval()
    packed = pack(model, PackedLinear)
    ids, mask = padded(random_rows([5, 2, 7]), side="left")
    compare_steps(packed, model, ids, mask)
    compare_steps(packed, model, ids, None)


def compare_steps(packed: GPT, model: GPT, ids: Tensor, mask: Tensor | None) -> None:
    caches = [one.new_cache(3) for one in (packed, model)]
    real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
    for piece in range(4, 8):
        with torch.inference_mode():
            one, other = (
                model(ids, mask=mask, cache=cache) for model, cache in zip((packed, model), caches, strict=True)
            )
        assert_near(one[real[:, -ids.shape[1] :]], other[real[:, -ids.shape[1] :]])
        ids, real = torch.full((3, 1), piece), torch.cat([real, torch.ones(3, 1, dtype=torch.bool)], dim=1)
        mask = None if mask is None else real


@torch.inference_mode()
def test_a_row_beyond_the_context_is_refused() -> None:
    packed = pack(
        GPT(GPTConfig(d_model=16, d_ff=32, n_heads=4, n_layers=1, max_seq_len=4), vocab_size=VOCAB), PackedLinear
    )
    cache, mask = packed.new_cache(1), torch.tensor([[False, True, True, True]])
    packed(torch.full((1, 4), 5), mask=mask, cache=cache)
    one, real = torch.tensor([[5]]), torch.tensor([[True]])
    mask = torch.cat([mask, real], dim=1)
    packed(one, mask=mask, cache=cache)
    with pytest.raises(ValueError, match="a sequence of 5 pieces: must be at most max_seq_len = 4"):
        packed(one, mask=torch.cat([mask, real], dim=1), cache=cache)
