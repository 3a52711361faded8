"""The decoder-only model: invariants over its variants, cache, padding, documents, errors, sizes, initialization."""

import math
from itertools import chain, product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from clearhead.meter.watch import watching
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.cache import KVCache
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import NormName, build_norm
from clearhead.nn.position import PositionName
from tests.small import VOCAB, assert_near, padded, random_rows, shake

SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 2, "max_seq_len": 32, "dropout": 0.0}
POSITIONS = get_args(PositionName)
ATTENTIONS = ("scaled_dot_product", "qk_norm")
HEADS = (4, 2, 1)  # multi-head, grouped-query, multi-query
NORMS = tuple(name for name in get_args(NormName) if build_norm(name, 1, groups=1).position_wise)
LENGTHS = [3, 8, 1, 6]


def small_gpt(**words: Any) -> GPT:
    """Returns a random model in evaluation mode; ``words`` set fields of its config or of its block."""
    block = {name: words.pop(name) for name in list(words) if name in BlockConfig.__dataclass_fields__}
    torch.manual_seed(0)
    model = GPT(GPTConfig(**{**SIZES, **words}, block=BlockConfig(**{"norm_groups": 4, **block})), vocab_size=VOCAB)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "norm" not in name:
            parameter.data *= 8  # at 0.02 attention is nearly uniform, and the tests would not see a wrong one
    shake(model)
    return model.eval()


def in_steps(model: GPT, ids: Tensor, steps: list[int], mask: Tensor | None = None) -> Tensor:
    """Returns the logits of ``ids``, computed with the cache in steps of the given numbers of pieces."""
    cache, parts, at = model.new_cache(len(ids), capacity=2), [], 0
    for new in ids.split(steps, dim=1):
        at += new.shape[1]
        parts.append(model(new, mask=None if mask is None else mask[:, :at], cache=cache))
        assert cache.length == at
    return torch.cat(parts, dim=1)


@pytest.mark.parametrize("kv_heads", HEADS)
@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_a_future_piece_changes_nothing_before_it(kv_heads: int, position: str) -> None:
    attention = {4: "scaled_dot_product", 2: "qk_norm", 1: "qk_norm" if position == "rotary" else "additive"}[kv_heads]
    model, ids = small_gpt(n_kv_heads=kv_heads, position=position, attention=attention), torch.tensor(random_rows([9]))
    before = model(ids)
    for at in (1, 4, 8):
        changed = ids.clone()
        changed[:, at:] = (ids[:, at:] - 3) % (VOCAB - 4) + 4
        after = model(changed)
        assert torch.equal(after[:, :at], before[:, :at])
        assert ((after[:, at:] - before[:, at:]).abs().amax(-1) > 1e-3).all()


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kv_heads", HEADS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_cached_equals_uncached(kv_heads: int, position: str, attention: str) -> None:
    model = small_gpt(n_kv_heads=kv_heads, position=position, attention=attention)
    ids = torch.tensor(random_rows([9] * 3))
    expected = model(ids)
    for steps in ([1] * 9, [5, 1, 3], [1, 8], [9]):
        assert_near(in_steps(model, ids, steps), expected)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("place", ["pre", "post"])
@torch.no_grad()
def test_every_norm_can_be_cached_and_padded(norm: str, place: str) -> None:
    model = small_gpt(norm=norm, norm_position=place, activation="swiglu", bias=False, position="rotary")
    (ids, mask), rows = padded(random_rows(LENGTHS), "left"), random_rows(LENGTHS)
    together = in_steps(model, ids, [4, 3, 1], mask)
    for row, content in enumerate(rows):
        assert_near(together[row, mask[row]], model(torch.tensor([content]))[0])


@pytest.mark.long_but(every=9)
@pytest.mark.parametrize("kv_heads", HEADS)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_padded_on_the_left_equals_alone(kv_heads: int, position: str, attention: str) -> None:
    model, rows = small_gpt(n_kv_heads=kv_heads, position=position, attention=attention), random_rows(LENGTHS)
    (ids, mask), alone = padded(rows, "left", 2), [model(torch.tensor([row]))[0] for row in rows]
    changed = ids.masked_fill(~mask, 7)  # the ids at padding must not matter
    batches = [model(ids, mask=mask), model(changed, mask=mask)]
    batches += [in_steps(model, ids, steps, mask) for steps in ([10], [6, 1, 3], [1] * 10)]
    for logits in batches:
        assert logits.isfinite().all()  # at padding too: a NaN there would spread
        for row, expected in enumerate(alone):
            assert_near(logits[row, mask[row]], expected)


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_watched_equals_fused(position: str) -> None:
    model, (ids, mask) = small_gpt(n_kv_heads=2, position=position), padded(random_rows(LENGTHS), "left")
    before = model(ids, mask=mask)
    with watching({name: module for name, module in model.named_modules() if name.endswith("tap")}) as seen:
        assert_near(model(ids, mask=mask), before)
    assert len(seen) == 2
    for (weights,) in seen.values():
        assert not weights.triu(1).any()
        assert not weights[0, :, 5:, :5].any()  # no real piece attends to padding


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_documents_of_a_window_equal_each_alone(position: str) -> None:
    model, rows = small_gpt(n_kv_heads=2, position=position), random_rows([4, 1, 6])
    ids = torch.tensor([list(chain(*rows)), list(chain(*rows[::-1]))])
    numbers = torch.tensor([[0] * 4 + [1] + [2] * 6, [7] * 6 + [8] + [3] * 4])
    places = torch.tensor([[*range(4), 0, *range(6)], [*range(6), 0, *range(4)]])
    packed = model(ids, documents=numbers, positions=places)
    alone = [model(torch.tensor([row]))[0] for row in rows]
    assert_near(packed[0], torch.cat(alone))
    assert_near(packed[1], torch.cat(alone[::-1]))
    assert not torch.allclose(model(ids, positions=places), packed, atol=1e-3)


@torch.no_grad()
def test_positions_are_those_said() -> None:
    ids = torch.tensor(random_rows([5]))
    for position in POSITIONS:
        model = small_gpt(position=position)
        told = model(ids, positions=torch.arange(3, 8)[None])
        if position in ("learned", "sinusoidal"):
            assert not torch.allclose(told, model(ids), atol=1e-3)
        else:  # only distances matter, or nothing does
            assert_near(told, model(ids))
        spread = model(ids, positions=torch.tensor([[0, 1, 9, 10, 20]]))
        assert torch.allclose(spread, model(ids), atol=1e-4) == (position in ("alibi", "none"))


@torch.no_grad()
def test_hidden_is_what_the_output_layer_reads() -> None:
    model, (ids, mask) = small_gpt(), padded(random_rows(LENGTHS), "left")
    assert torch.equal(model.lm_head(model.hidden(ids, mask=mask)), model(ids, mask=mask))
    cached = [model.hidden(ids, mask=mask, cache=model.new_cache(4)), model.hidden(ids, mask=mask)]
    assert_near(*cached)


def test_every_combination_trains() -> None:
    ids = torch.tensor(random_rows([6, 6]))
    for norm, position, attention in product(NORMS, POSITIONS, ATTENTIONS):
        sizes = {"norm": norm, "position": position, "attention": attention, "stochastic_depth": 0.1, "dropout": 0.1}
        model = small_gpt(**sizes, activation="swiglu", tie=norm == "rms").train()
        model(ids).logsumexp(-1).square().mean().backward()
        wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert wrong == [], (norm, position, attention)


def test_the_output_layer_is_the_table_where_it_is_tied() -> None:
    tied, free = small_gpt(), small_gpt(tie=False)
    assert tied.lm_head.weight is tied.embedding.tokens.weight
    assert free.lm_head.weight is not free.embedding.tokens.weight
    assert sum(p.numel() for p in free.parameters()) - sum(p.numel() for p in tied.parameters()) == VOCAB * 16
    assert "lm_head.bias" not in free.state_dict()


def test_parameters_of_gpt_2() -> None:
    sizes = {"d_model": 768, "d_ff": 3072, "n_heads": 12, "n_layers": 12, "max_seq_len": 1024}
    with torch.device("meta"):
        model = GPT(GPTConfig(**sizes), vocab_size=50257)
    assert sum(parameter.numel() for parameter in model.parameters()) == 124_439_808


def test_it_starts_as_gpt_2_does() -> None:
    torch.manual_seed(0)
    config = GPTConfig(d_model=128, d_ff=512, n_heads=4, n_layers=8, tie=False)
    model = GPT(config, vocab_size=600, pad_id=5).requires_grad_(False)
    for name, tensor in model.named_parameters():
        if tensor.dim() == 1:
            assert torch.equal(tensor, torch.ones_like(tensor) if "norm.weight" in name else torch.zeros_like(tensor))
            continue
        std = 0.02 / math.sqrt(16) if name.endswith(("o_proj.weight", "down_proj.weight")) else 0.02
        assert abs(float(tensor.std()) / std - 1) < 0.03, name
        assert abs(float(tensor.mean())) < 0.05 * std, name
    table = model.embedding.tokens.weight
    assert not table[5].any()
    assert table[[4, 6]].any(1).all()


def test_stochastic_depth_rises_with_depth_and_dropout_stands_in_its_places() -> None:
    rates = [layer.attn_residual.drop_path for layer in small_gpt(n_layers=4, stochastic_depth=0.4).layers]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
    model = small_gpt(dropout=0.3, attn_dropout=0.2)
    first = model.layers[0]
    assert (first.attn_residual.dropout.p, first.attn.core.dropout.p, model.embedding.dropout.p) == (0.3, 0.2, 0.3)
    assert small_gpt(dropout=0.3, embed_dropout=0.0).embedding.dropout.p == 0.0


def test_tables_that_are_computed_are_not_saved() -> None:
    for position in ("sinusoidal", "rotary", "alibi", "none"):
        names = small_gpt(position=position).state_dict()
        assert not [name for name in names if "position" in name or "rotary" in name or "alibi" in name]


@torch.no_grad()
def test_the_base_of_the_rotary_rates_is_the_configs() -> None:
    ids = torch.tensor(random_rows([9]))
    models = [small_gpt(position="rotary", rotary_theta=theta) for theta in (10000.0, 500.0)]
    assert not torch.allclose(models[0](ids), models[1](ids), atol=1e-3)


def test_the_cache_is_as_small_as_the_heads_of_keys_and_values() -> None:
    cache = small_gpt(n_kv_heads=2).new_cache(3, capacity=50)
    assert cache.buffer.shape == (2, 2, 3, 2, 32, 4)  # layers, two, rows, kv_heads, max_seq_len, head_dim
    assert small_gpt().new_cache(3, capacity=5).buffer.shape == (2, 2, 3, 4, 5, 4)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_heads": 7}, "model.n_heads = 7: must divide model.d_model = 384"),
        ({"n_kv_heads": 4}, "model.n_kv_heads = 4: must divide model.n_heads = 6"),
        ({"d_model": 18, "position": "rotary"}, "model.position = 'rotary': needs an even head size, not 3"),
        (
            {"position": "rotary", "block": BlockConfig(attention="additive")},
            "model.position = 'rotary': needs another model.block.attention than 'additive'",
        ),
        (
            {"block": BlockConfig(norm="instance")},
            "model.block.norm = 'instance': looks at other positions, so a GPT could not use its cache",
        ),
        (
            {"d_model": 9, "n_heads": 3, "position": "sinusoidal"},
            "model.d_model = 9: sinusoidal positions need an even number",
        ),
        (
            {"block": BlockConfig(norm="group", norm_groups=7)},
            "model.block.norm_groups = 7: must divide model.d_model = 384",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GPTConfig(**sizes)


@torch.no_grad()
def test_a_sequence_beyond_the_context_is_refused() -> None:
    ids = torch.full((1, 5), 4)
    for position in POSITIONS:
        model = small_gpt(position=position, max_seq_len=4)
        model(ids[:, :4])
        with pytest.raises(ValueError, match="a sequence of 5 pieces: must be at most max_seq_len = 4"):
            model(ids)
        cache = model.new_cache(1)
        model(ids[:, :4], cache=cache)
        with pytest.raises(ValueError, match="a sequence of 5 pieces: must be at most max_seq_len = 4"):
            model(ids[:, :1], cache=cache)


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_with_a_mask_the_real_pieces_of_a_row_are_counted(position: str) -> None:
    model, cache = (
        small_gpt(position=position, max_seq_len=4),
        KVCache(n_layers=2, rows=2, kv_heads=4, head_dim=4, capacity=8, like=torch.zeros(1)),
    )
    ids, mask = torch.full((2, 4), 5), torch.tensor([[False, True, True, True], [False, False, True, True]])
    model(ids, mask=mask, cache=cache)
    piece, real = ids[:, :1], torch.ones(2, 1, dtype=torch.bool)
    mask = torch.cat([mask, real], dim=1)
    model(piece, mask=mask, cache=cache)  # five columns, but no row has more than four real pieces
    with pytest.raises(ValueError, match=r"^a sequence of 5 pieces: must be at most max_seq_len = 4$"):
        model(piece, mask=torch.cat([mask, real], dim=1), cache=cache)
    assert cache.length == 5


def test_documents_and_padding_restrict_together_and_no_cache_goes_with_them() -> None:
    model, ids = small_gpt(), torch.tensor([[5, 6, 7, 8]])
    numbers, mask = torch.tensor([[0, 0, 1, 1]]), torch.tensor([[False, True, True, True]])
    changed = torch.tensor([[9, 6, 7, 8]])
    both = [model(batch, documents=numbers, mask=mask)[:, 1:] for batch in (ids, changed)]
    assert torch.equal(*both)
    with pytest.raises(ValueError, match="documents: a cache holds no document numbers"):
        model(ids, documents=numbers, cache=model.new_cache(1))
