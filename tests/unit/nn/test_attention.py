"""Attention: formulas, masks, grouped heads, the tap, the cache, the beams."""

import itertools
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from clearhead.meter.watch import watching
from clearhead.nn.attention import (
    Additive,
    AttentionCore,
    AttentionName,
    CrossAttention,
    ScaledDotProduct,
    SelfAttention,
    build_core,
    normalizes_queries_and_keys,
    unit_rms,
)
from clearhead.nn.cache import KVCache
from clearhead.nn.mask import causal_mask, padding_mask
from clearhead.nn.position import Rotary
from tests.small import assert_near

CORES = ["scaled_dot_product", "additive"]
HEADS, DIM = 4, 6


def qkv(queries: int = 5, keys: int = 7, kv_heads: int = HEADS, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(batch, HEADS, queries, DIM),
        torch.randn(batch, kv_heads, keys, DIM),
        torch.randn(batch, kv_heads, keys, DIM),
    )


def core_of(name: str) -> AttentionCore:
    torch.manual_seed(0)
    return build_core(name, HEADS, DIM).eval()


def score(core: AttentionCore, q: Tensor, k: Tensor, head: int) -> float:
    if isinstance(core, Additive):
        return float(core.score[head].detach() @ torch.tanh(q + k))
    return float(q @ k) / math.sqrt(DIM)


def by_hand(core: AttentionCore, q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    """Computes attention weight by weight, in Python; ``allowed`` is [batch, queries, keys]."""
    out = torch.zeros(q.shape, dtype=torch.float64)
    groups = q.shape[1] // k.shape[1]
    for b, h, i in itertools.product(*map(range, q.shape[:3])):
        keys = [j for j in range(k.shape[2]) if allowed[b, i, j]]
        powers = [math.exp(score(core, q[b, h, i], k[b, h // groups, j], h)) for j in keys]
        for j, power in zip(keys, powers, strict=True):
            out[b, h, i] += power / sum(powers) * v[b, h // groups, j].double()
    return out


def test_words() -> None:
    built = {name: (type(core_of(name)), normalizes_queries_and_keys(name)) for name in get_args(AttentionName)}
    assert built == {
        "scaled_dot_product": (ScaledDotProduct, False),
        "qk_norm": (ScaledDotProduct, True),
        "additive": (Additive, False),
    }


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("watched", [False, True])
def test_formula(name: str, kv_heads: int, watched: bool) -> None:
    core, (q, k, v) = core_of(name), qkv(kv_heads=kv_heads)
    mask = torch.rand(2, 1, 5, 7) > 0.4
    mask[..., 0] = True
    with watching({"tap": core.tap} if watched else {}):
        assert_near(core(q, k, v).double(), by_hand(core, q, k, v, torch.ones(2, 5, 7)))
        assert_near(core(q, k, v, mask=mask).double(), by_hand(core, q, k, v, mask[:, 0]))
        order = mask[:, 0] & causal_mask(5, 7)
        order[..., 0] = True
        full = mask | (torch.arange(7) == 0)
        assert_near(core(q, k, v, mask=full, causal=True).double(), by_hand(core, q, k, v, order))


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize(("queries", "keys"), [(1, 1), (1, 6), (3, 6), (6, 6)])
@pytest.mark.parametrize("kind", ["none", "bool", "float"])
def test_explicit_equals_fused_and_weights_sum_to_one(name: str, queries: int, keys: int, kind: str) -> None:
    core, (q, k, v) = core_of(name), qkv(queries, keys, kv_heads=2)
    real = torch.rand(2, 1, 1, keys) > 0.4
    real[..., 0] = True
    mask = {"none": None, "bool": real, "float": torch.randn(1, HEADS, queries, keys).masked_fill(~real, -math.inf)}[
        kind
    ]
    fused = core(q, k, v, mask=mask, causal=True)
    before = set(core.__dict__), set(core.tap.__dict__), list(core.state_dict())
    with watching({"tap": core.tap}) as seen:
        explicit = core(q, k, v, mask=mask, causal=True)
    assert_near(explicit, fused)
    (weights,) = seen["tap"]
    assert weights.shape == (2, HEADS, queries, keys)
    assert_near(weights.sum(-1), torch.ones(2, HEADS, queries))
    forbidden = ~causal_mask(queries, keys) | (~real if mask is not None else False)
    assert not weights.masked_select(forbidden).any()
    assert (set(core.__dict__), set(core.tap.__dict__), list(core.state_dict())) == before
    assert not core.tap._forward_hooks
    assert torch.equal(core(q, k, v, mask=mask, causal=True), fused)


def test_a_hook_may_change_the_weights() -> None:
    core, (q, k, v) = ScaledDotProduct(), qkv()
    handle = core.tap.register_forward_hook(lambda module, args, out: torch.ones_like(out) / out.shape[-1])
    assert_near(core(q, k, v), v.mean(2, keepdim=True).expand_as(q))
    handle.remove()
    assert not torch.allclose(core(q, k, v), v.mean(2, keepdim=True).expand_as(q))


@pytest.mark.parametrize("head_dim", [4, 64, 256])
def test_the_scale_keeps_the_variance_of_scores_near_one(head_dim: int) -> None:
    torch.manual_seed(0)
    core = ScaledDotProduct()
    q, k = torch.randn(2, 8, 4, 64, head_dim, dtype=torch.float64)
    with watching({"tap": core.tap}) as seen:
        core(q, k, k)
    scores = seen["tap"][0].log()  # the scores but for a constant a row
    assert abs(float(scores.var(-1).mean()) - 1) < 0.05


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("watched", [False, True])
def test_dropout_on_the_weights_in_training_alone(name: str, watched: bool) -> None:
    core, (q, k, _) = build_core(name, HEADS, DIM, dropout=0.5), qkv(50, 60)
    ones = torch.ones_like(k)
    with watching({"tap": core.tap} if watched else {}):
        out = core(q, k, ones)
        assert_near(core.eval()(q, k, ones), torch.ones_like(out))
    assert out.std() > 0.05
    assert abs(float(out.detach().mean()) - 1) < 0.05


@pytest.mark.parametrize("kv_heads", [1, 2])
def test_grouped_query_is_multi_head_with_repeated_keys_and_values(kv_heads: int) -> None:
    grouped = SelfAttention(16, n_heads=4, n_kv_heads=kv_heads)
    full = SelfAttention(16, n_heads=4)
    full.load_state_dict(
        {
            name: tensor.view(kv_heads, 4, -1).repeat_interleave(4 // kv_heads, 0).reshape(16, *tensor.shape[1:])
            if name[0] in "kv"
            else tensor
            for name, tensor in grouped.state_dict().items()
        }
    )
    x = torch.randn(2, 5, 16)
    assert_near(grouped(x, causal=True), full(x, causal=True))


@pytest.mark.parametrize("bias", [True, False])
def test_parity_with_torchs_module(bias: bool) -> None:
    ours, theirs = SelfAttention(16, n_heads=4, bias=bias), nn.MultiheadAttention(16, 4, bias=bias, batch_first=True)
    cross = CrossAttention(16, n_heads=4, bias=bias)
    for mine in (ours, cross):
        parts = [mine.q_proj, mine.k_proj, mine.v_proj]
        theirs.in_proj_weight.data.copy_(torch.cat([part.weight for part in parts]))
        theirs.out_proj.weight.data.copy_(mine.o_proj.weight)
        if bias:
            theirs.in_proj_bias.data.copy_(torch.cat([part.bias for part in parts]))
            theirs.out_proj.bias.data.copy_(mine.o_proj.bias)
        real = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
        x, memory = torch.randn(2, 5, 16), torch.randn(2, 5, 16)
        if mine is ours:
            out, keys = ours(x, mask=padding_mask(real)), x
        else:
            out, keys = cross(x, cross.keys_values(memory), mask=padding_mask(real)), memory
        assert_near(out, theirs(x, keys, keys, key_padding_mask=~real, need_weights=False)[0])


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("rotary", [False, True])
@settings(max_examples=3, deadline=None)
@given(steps=st.lists(st.integers(1, 3), min_size=1, max_size=4), qk_norm=st.booleans())
def test_cached_equals_uncached(name: str, kv_heads: int, rotary: bool, steps: list[int], qk_norm: bool) -> None:
    sizes = {"n_heads": 4, "n_kv_heads": kv_heads, "qk_norm": qk_norm}
    attention = SelfAttention(24, **sizes, core=core_of(name), rotary=Rotary(6, 20) if rotary else None)
    x = torch.randn(3, sum(steps), 24)
    cache = KVCache(n_layers=1, rows=3, kv_heads=kv_heads, head_dim=6, capacity=1, like=x)
    parts = []
    for new in x.split(steps, dim=1):
        cache.reserve(new.shape[1])
        parts.append(attention(new, causal=True, cache=cache.layers[0]))
        cache.advance(new.shape[1])
    assert_near(torch.cat(parts, 1), attention(x, causal=True))


def test_unit_rms_is_a_vector_over_its_root_mean_square() -> None:
    assert_near(unit_rms(torch.tensor([3.0, 4.0])), torch.tensor([3.0, 4.0]) / math.sqrt(12.5))
    assert_near(unit_rms(torch.randn(2, 3, 8)).square().mean(-1), torch.ones(2, 3))


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("rotary", [None, Rotary(6, 20)])
def test_qk_norm_attends_by_directions_alone(kv_heads: int, rotary: Rotary | None) -> None:
    attention = SelfAttention(24, n_heads=4, n_kv_heads=kv_heads, rotary=rotary, qk_norm=True, bias=False)
    x = torch.randn(2, 5, 24)
    split = {name: getattr(attention, f"{name}_proj")(x).unflatten(-1, (-1, 6)).transpose(1, 2) for name in "qkv"}
    q, k = (split[name] / split[name].square().mean(-1, keepdim=True).sqrt() for name in "qk")
    if rotary is not None:
        q, k = rotary(q), rotary(k)
    mixed = ScaledDotProduct()(q, k, split["v"], causal=True).transpose(1, 2).flatten(2)
    assert_near(attention(x, causal=True), attention.o_proj(mixed))
    before = attention(x, causal=True)
    for name, factor in (("q", 7.0), ("k", 3.0)):
        getattr(attention, f"{name}_proj").weight.data *= factor
    assert_near(attention(x, causal=True), before)
    assert list(attention.state_dict()) == [f"{name}_proj.weight" for name in "qkvo"]  # no gain


def test_qk_norm_of_cross_attention() -> None:
    cross = CrossAttention(24, n_heads=4, n_kv_heads=2, qk_norm=True, bias=False)
    x, memory = torch.randn(2, 3, 24), torch.randn(2, 5, 24)
    keys, _ = cross.keys_values(memory)
    assert_near(keys.square().mean(-1), torch.ones(2, 2, 5))
    before = cross(x, cross.keys_values(memory))
    cross.q_proj.weight.data *= 7
    cross.k_proj.weight.data *= 0.2
    assert_near(cross(x, cross.keys_values(memory)), before)
    cross.qk_norm = False
    assert not torch.allclose(cross(x, cross.keys_values(memory)), before, atol=1e-3)


def test_positions_of_rotary_may_differ_from_row_to_row() -> None:
    attention, x = SelfAttention(24, n_heads=4, rotary=Rotary(6, 30)), torch.randn(2, 4, 24)
    places = torch.tensor([[0, 0, 9, 1], [25, 3, 3, 7]])
    rows = [attention(x[row : row + 1], positions=places[row : row + 1]) for row in range(2)]
    assert_near(attention(x, positions=places), torch.cat(rows))
    order = torch.tensor([2, 0, 3, 1])  # the order of the pieces is irrelevant if their positions move with them
    assert_near(attention(x[:, order], positions=places[:, order]), attention(x, positions=places)[:, order])
    assert not torch.allclose(attention(x, positions=places), attention(x), atol=1e-3)


@pytest.mark.parametrize("name", CORES)
def test_keys_under_the_mask_may_be_permuted(name: str) -> None:
    cross, x, memory = CrossAttention(24, n_heads=4, core=core_of(name)), torch.randn(2, 3, 24), torch.randn(2, 6, 24)
    mask = torch.tensor([[True] * 6, [True, False, True, True, False, True]])
    order = torch.randperm(6)
    out = cross(x, cross.keys_values(memory), mask=padding_mask(mask))
    memory[~mask] = 1e3
    assert_near(cross(x, cross.keys_values(memory[:, order]), mask=padding_mask(mask[:, order])), out)


@pytest.mark.parametrize("name", CORES)
@pytest.mark.parametrize("kv_heads", [4, 1])
@pytest.mark.parametrize("queries", [1, 3])
def test_beams_share_one_memory(name: str, kv_heads: int, queries: int) -> None:
    cross = CrossAttention(24, n_heads=4, n_kv_heads=kv_heads, core=core_of(name))
    x, memory = torch.randn(6, queries, 24), torch.randn(2, 5, 24)
    mask = padding_mask(torch.tensor([[True] * 5, [True] * 2 + [False] * 3]))
    shared = cross(x, cross.keys_values(memory), mask=mask)
    copied = cross(x, cross.keys_values(memory.repeat_interleave(3, 0)), mask=mask.repeat_interleave(3, 0))
    assert_near(shared, copied)


@pytest.mark.parametrize("kind", [SelfAttention, CrossAttention])
@pytest.mark.parametrize(
    ("heads", "kv_heads", "message"),
    [
        (3, None, "n_heads = 3: must divide d_model = 16"),
        (0, None, "n_heads = 0: must divide d_model = 16"),
        (4, 3, "n_kv_heads = 3: must divide n_heads = 4"),
        (4, 8, "n_kv_heads = 8: must divide n_heads = 4"),
        (4, 0, "n_kv_heads = 0: must divide n_heads = 4"),
    ],
)
def test_sizes_that_do_not_fit_are_named(kind: type[nn.Module], heads: int, kv_heads: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(16, n_heads=heads, n_kv_heads=kv_heads)


def test_projections_are_one_product_unless_one_is_watched() -> None:
    attn, x = SelfAttention(16, n_heads=4, n_kv_heads=2), torch.randn(2, 5, 16)
    fused = attn(x)
    seen: list[torch.Size] = []
    handle = attn.k_proj.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    watched = attn(x)
    handle.remove()
    assert seen == [(2, 5, 8)]
    torch.testing.assert_close(fused, watched)
    fused.sum().backward()
    assert all(weight.grad is not None for weight in attn.parameters())


def test_without_torchs_names_for_hooks_results_are_the_same_and_hooks_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attn, x, seen = SelfAttention(16, n_heads=4, n_kv_heads=2), torch.randn(2, 5, 16), list[torch.Size]()
    expected = attn(x, causal=True)
    for name in ("_forward_hooks", "_forward_pre_hooks"):
        assert name in vars(attn.core.tap), "where they are today"
    monkeypatch.setattr("clearhead.nn.attention.getattr", lambda module, name, default: default, raising=False)
    assert_near(attn(x, causal=True), expected)
    attn.core.tap.register_forward_hook(lambda module, args, weights: seen.append(weights.shape))
    attn.k_proj.register_forward_hook(lambda module, args, keys: seen.append(keys.shape))
    assert_near(attn(x, causal=True), expected)
    assert seen == [(2, 5, 8), (2, 4, 5, 5)]


def test_bfloat16_on_a_cpu_is_near_float32_and_stays_bfloat16() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(24, n_heads=4, rotary=Rotary(6, 16))
    x = torch.randn(2, 5, 24)
    exact = attention(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = attention(x)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, atol=0.02, rtol=0.02)
    rounded.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


@pytest.mark.parametrize("most", [0, 256])
@pytest.mark.parametrize("causal", [False, True])
def test_in_bfloat16_both_ways_of_a_cpu_are_near_float32_forward_and_backward(
    most: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    attention, x, weighed = SelfAttention(32, n_heads=4, n_kv_heads=2), torch.randn(3, 9, 32), torch.randn(3, 9, 32)
    mask = padding_mask(torch.arange(9) < torch.tensor([[9], [4], [6]]))
    fused: list[int] = []

    def computed(*, half: bool) -> list[Tensor]:
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            out = attention(x, mask=mask, causal=causal)
        (out.float() * weighed).sum().backward()
        return [out.detach().float(), *(p.grad for p in attention.parameters() if p.grad is not None)]

    exact = computed(half=False)
    kernel = ScaledDotProduct._fused
    monkeypatch.setattr(ScaledDotProduct, "_fused", lambda *args: (fused.append(1), kernel(*args))[1])
    monkeypatch.setattr("clearhead.nn.attention.MOST_EXPLICIT_KEYS", most)
    for rounded, single in zip(computed(half=True), exact, strict=True):
        # a bias of the keys changes no softmax: its gradient is rounding alone
        assert float((rounded - single).norm()) < 0.015 * float(single.norm()) + 0.05 * float(single.norm() < 1e-4)
    assert bool(fused) == (most == 0)


def test_in_bfloat16_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    attention, x = SelfAttention(32, n_heads=4), torch.randn(2, 9, 32)
    mask = padding_mask(torch.arange(9) < torch.tensor([[9], [4]]))
    with torch.autocast("cpu", torch.bfloat16):
        together, alone = attention(x, mask=mask), attention(x[1:, :4])
    torch.testing.assert_close(together[1:, :4], alone, rtol=2**-7, atol=2**-9)
