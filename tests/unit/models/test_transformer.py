"""The encoder-decoder: invariants over its variants, configuration errors, ties, gradients, real text."""

from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clearhead.meter.watch import watching
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.activation import ActivationName
from clearhead.nn.attention import AttentionName
from clearhead.nn.cache import KVCache
from clearhead.nn.layer import BlockConfig
from clearhead.nn.mask import padding_mask
from clearhead.nn.norm import NormName
from clearhead.nn.position import PositionName, Rotary
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.small import VOCAB, assert_near, padded, random_rows, small

NORMS, POSITIONS = get_args(NormName), get_args(PositionName)
ATTENTIONS, ACTIVATIONS = get_args(AttentionName), get_args(ActivationName)
PLACES = ("pre", "post")
CASES = [
    (norm, position, attention)
    for norm, position, attention in product(NORMS, POSITIONS, ATTENTIONS)
    if (position, attention) != ("rotary", "additive")
]


def tolerance(norm: str) -> float:
    return 1e-4 if norm == "instance" else 1e-5


def variant(norm: str, position: str, attention: str = "scaled_dot_product", **sizes: Any) -> Transformer:
    place = PLACES[(NORMS.index(norm) + POSITIONS.index(position)) % 2]
    # normalized groups of two features are nearly their signs, which jump by more than any tolerance
    block = BlockConfig(norm=norm, attention=attention, norm_position=place, norm_groups=2)
    return small(block=block, position=position, **sizes)


def exact(model: Transformer) -> Transformer:
    """Returns the model in float64, its rotary tables too."""
    model.double()
    for module in model.modules():
        if isinstance(module, Rotary):
            positions, half = module.cos.shape[0], module.cos.shape[1] // 2
            rates = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
            angles = torch.outer(torch.arange(positions, dtype=torch.float64), rates).repeat(1, 2)
            module.cos, module.sin = angles.cos(), angles.sin()
    return model


def logits_of(model: Transformer, src: list[list[int]], tgt: list[list[int]], side: str, extra: int) -> list[Tensor]:
    """Returns the logits [tgt length, vocab] of each pair, computed in one batch."""
    src_ids, src_mask = padded(src, side, extra)
    tgt_ids, tgt_mask = padded(tgt, side, extra)
    logits = model(src_ids, tgt_ids, src_mask=src_mask, tgt_mask=tgt_mask)
    return [row[real] for row, real in zip(logits, tgt_mask, strict=True)]


def distinct_rows(lengths: list[int], seed: int) -> list[list[int]]:
    """Returns rows of real pieces, none of them twice in its row.

    The states of a row that begins with one piece twice are equal if positions are rotary: their variance is 0, and
    each instance norm makes a rounding 1 / sqrt(eps) = 316 times larger.
    """
    draw = torch.Generator().manual_seed(seed)
    return [(4 + torch.randperm(VOCAB - 4, generator=draw))[:length].tolist() for length in lengths]


def check_padding(model: Transformer, lengths: list[tuple[int, int]], side: str, extra: int, limit: float) -> None:
    src, tgt = distinct_rows([a for a, _ in lengths], 1), distinct_rows([b for _, b in lengths], 2)
    together = logits_of(model, src, tgt, side, extra)
    turned = logits_of(model, src[::-1], tgt[::-1], side, 0)[::-1]
    for a, b, in_batch, in_other in zip(src, tgt, together, turned, strict=True):
        alone = model(torch.tensor([a]), torch.tensor([b]))[0]
        assert_near(in_batch, alone, limit)
        assert_near(in_other, alone, limit)


@pytest.mark.long_but(every=15)
@pytest.mark.parametrize(("norm", "position", "attention"), CASES)
@torch.no_grad()
def test_padded_equals_alone(norm: str, position: str, attention: str) -> None:
    model = variant(norm, position, attention, n_kv_heads=2)
    for side in ("right", "left"):
        check_padding(model, [(1, 2), (6, 5), (3, 1)], side, 2, tolerance(norm))


@pytest.mark.long
@settings(max_examples=15, deadline=None)
@given(
    case=st.sampled_from(CASES),
    lengths=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=4),
    side=st.sampled_from(["left", "right"]),
    extra=st.integers(0, 3),
)
@torch.no_grad()
def test_padded_equals_alone_for_any_lengths(
    case: tuple[str, str, str], lengths: list[tuple[int, int]], side: str, extra: int
) -> None:
    # in float64: a rounding of float32 grows a thousandfold where instance norm meets features without variance
    check_padding(exact(variant(*case)), lengths, side, extra, 1e-9)


@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_right_padding_of_the_target_may_be_left_unsaid(norm: str) -> None:
    model = variant(norm, "sinusoidal")
    src, (tgt, mask) = torch.tensor(random_rows([5, 5, 5])), padded(random_rows([2, 6, 4], 3))
    told, untold = model(src, tgt, tgt_mask=mask), model(src, tgt)
    assert_near(untold[mask], told[mask], tolerance(norm))  # in evaluation for every norm
    assert model.needs_tgt_mask is (norm in ("batch", "instance"))


def decode_in_steps(model: Transformer, src: Tensor, src_mask: Tensor, tgt: Tensor, steps: list[int]) -> Tensor:
    config, memory = model.config, model.encoder(src, src_mask)
    cache = KVCache(
        n_layers=config.n_decoder_layers,
        rows=len(tgt),
        kv_heads=config.n_kv_heads or config.n_heads,
        head_dim=config.d_model // config.n_heads,
        capacity=2,
        like=memory,
    )
    cache.cross = model.decoder.keys_values(memory)
    parts = []
    for new in tgt.split(steps, dim=1):
        cache.reserve(new.shape[1])
        parts.append(model.decoder(new, cache.cross, memory_mask=padding_mask(src_mask), cache=cache))
    assert cache.length == sum(steps)
    return model.lm_head(torch.cat(parts, dim=1))


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_cached_equals_uncached(kv_heads: int, position: str) -> None:
    for norm, steps in zip(("layer", "rms", "batch", "group"), ([1] * 7, [3, 1, 3], [1, 1, 5], [7]), strict=True):
        model = variant(norm, position, n_kv_heads=kv_heads)
        assert model.cacheable
        src, mask = padded(random_rows([3, 6, 1]))
        tgt = torch.tensor(random_rows([7] * 3, 5))
        assert_near(decode_in_steps(model, src, mask, tgt, steps), model(src, tgt, src_mask=mask))


def test_instance_norm_cannot_be_cached() -> None:
    assert not variant("instance", "none").cacheable


@pytest.mark.long_but(every=15)
@pytest.mark.parametrize(("norm", "position", "attention"), CASES)
@torch.no_grad()
def test_a_future_piece_changes_nothing_before_it(norm: str, position: str, attention: str) -> None:
    model = variant(norm, position, attention)
    src, tgt = torch.tensor(random_rows([5, 5])), torch.tensor(random_rows([8, 8], 7))
    before = model(src, tgt)
    for at in (1, 4, 7):
        changed = tgt.clone()
        changed[:, at:] = (tgt[:, at:] - 3) % (VOCAB - 4) + 4
        after = model(src, changed)
        assert torch.equal(after[:, :at], before[:, :at])
        assert not torch.allclose(after[:, at:], before[:, at:])


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_without_positions_the_order_of_the_source_is_nothing(norm: str, attention: str) -> None:
    model = variant(norm, "none", attention)
    (src, mask), tgt = padded(random_rows([3, 7, 5])), torch.tensor(random_rows([4] * 3, 9))
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    expected = model(src, tgt, src_mask=mask)
    assert_near(model(src[:, order], tgt, src_mask=mask[:, order]), expected, tolerance(norm))


@pytest.mark.parametrize("position", ["sinusoidal", "learned", "rotary", "alibi"])
@torch.no_grad()
def test_with_positions_the_order_matters(position: str) -> None:
    model, tgt = variant("layer", position), torch.tensor(random_rows([4]))
    src, moved = torch.tensor([[4, 5, 6, 7, 8]]), torch.tensor([[4, 7, 6, 5, 8]])
    assert (model(src, tgt) - model(moved, tgt)).abs().max() > 1e-3


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_beams_of_a_sentence_share_its_memory(attention: str) -> None:
    model = variant("layer", "learned", attention, n_kv_heads=2)
    (src, mask), tgt = padded(random_rows([3, 6])), torch.tensor(random_rows([5] * 6, 4))
    cross = model.decoder.keys_values(model.encoder(src, mask))
    shared = model.lm_head(model.decoder(tgt, cross, memory_mask=padding_mask(mask)))
    rows = torch.arange(2).repeat_interleave(3)
    assert_near(shared, model(src[rows], tgt, src_mask=mask[rows]))


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_watched_equals_fused_and_hooks_leave_nothing(position: str) -> None:
    model = variant("layer", position, n_kv_heads=2)
    (src, mask), tgt = padded(random_rows([3, 6])), torch.tensor(random_rows([5] * 2, 4))
    taps = {name: module for name, module in model.named_modules() if name.endswith("tap")}
    assert len(taps) == 6
    before, names = model(src, tgt, src_mask=mask), list(model.state_dict())
    with watching(taps) as seen:
        assert_near(model(src, tgt, src_mask=mask), before)
    for (weights,) in seen.values():
        assert_near(weights.sum(-1), torch.ones(weights.shape[:-1]))
    on_source = [weights for name, (weights,) in seen.items() if name.startswith("encoder") or "cross" in name]
    assert len(on_source) == 4
    assert not any(weights[0, :, :, 3:].any() for weights in on_source)
    assert list(model.state_dict()) == names
    assert not any(tap._forward_hooks for tap in taps.values())
    assert torch.equal(model(src, tgt, src_mask=mask), before)


@pytest.mark.long
@pytest.mark.parametrize("norm", NORMS)
def test_every_combination_trains(norm: str) -> None:
    places: Iterator[str] = cycle(PLACES)
    src, tgt = padded(random_rows([2, 4])), padded(random_rows([3, 3], 1))
    for (_, position, attention), activation in product([c for c in CASES if c[0] == norm], ACTIVATIONS):
        words = {"norm": norm, "norm_position": next(places), "norm_groups": 2}
        block = BlockConfig(**words, attention=attention, activation=activation)
        sizes = {"d_model": 8, "d_ff": 8, "n_heads": 2, "n_encoder_layers": 1, "n_decoder_layers": 1}
        model = small(**sizes, position=position, block=block, max_seq_len=8, dropout=0.1).train()
        model(src[0], tgt[0], src_mask=src[1], tgt_mask=tgt[1]).logsumexp(-1).square().mean().backward()
        wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert wrong == [], (block, position)


def test_ties() -> None:
    def pointers(tie: str) -> list[int]:
        model = small(tie=tie)
        tables = [model.encoder.embedding.tokens.weight, model.decoder.embedding.tokens.weight, model.lm_head.weight]
        return [id(table) for table in tables]

    assert [len(set(pointers(tie))) for tie in ("all", "decoder", "none")] == [1, 2, 3]
    source, target, out = pointers("decoder")
    assert source != target == out
    with pytest.raises(ValueError, match=r"model\.tie = 'all': needs one joint vocabulary, not 5 and 6 pieces"):
        Transformer(TransformerConfig(), src_vocab_size=5, vocab_size=6)
    config = TransformerConfig(d_model=8, d_ff=8, n_heads=2, tie="decoder")
    logits = Transformer(config, src_vocab_size=20, vocab_size=6)(torch.tensor([[19]]), torch.tensor([[1, 5]]))
    assert logits.shape == (1, 2, 6)


def test_stochastic_depth_rises_with_depth_and_tables_are_not_saved() -> None:
    model = small(n_encoder_layers=4, position="rotary", block=BlockConfig(stochastic_depth=0.4))
    rates = [layer.attn_residual.drop_path for layer in model.encoder.layers]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])
    for position in ("sinusoidal", "rotary", "alibi", "none"):
        assert not [name for name in small(position=position).state_dict() if "position" in name or "rotary" in name]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_heads": 3}, "model.n_heads = 3: must divide model.d_model = 256"),
        ({"n_kv_heads": 3}, "model.n_kv_heads = 3: must divide model.n_heads = 4"),
        ({"d_model": 12, "position": "rotary"}, "model.position = 'rotary': needs an even head size, not 3"),
        ({"d_model": 9, "n_heads": 3}, "model.d_model = 9: sinusoidal positions need an even number"),
        (
            {"position": "rotary", "block": BlockConfig(attention="additive")},
            "model.position = 'rotary': needs another model.block.attention than 'additive'",
        ),
        (
            {"block": BlockConfig(norm="group", norm_groups=7)},
            "model.block.norm_groups = 7: must divide model.d_model = 256",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**sizes)


@torch.no_grad()
def test_a_sequence_beyond_the_longest_is_refused() -> None:
    for position in POSITIONS:
        model = small(position=position, max_seq_len=4)
        ids = torch.full((1, 5), 4)
        model(ids[:, :4], ids[:, :4])
        for src, tgt in ((ids, ids[:, :4]), (ids[:, :4], ids)):
            with pytest.raises(ValueError, match="must be at most max_seq_len = 4"):
                model(src, tgt)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_real_sentences_padded_equal_alone(shared_data: Path, side: str) -> None:
    folder = shared_data / "tatoeba-zh-en"
    zh, en = ((folder / f"valid.{x}").read_text("utf-8").split("\n")[:12] for x in ("zh", "en"))
    tokenizer = Tokenizer.train(zh + en, TokenizerConfig(kind="char", min_frequency=1))
    model = small(vocab_size=tokenizer.vocab_size, max_seq_len=128, position="rotary")
    src = [[*ids, tokenizer.ids.eos] for ids in tokenizer.encode_batch(zh)]
    tgt = [[tokenizer.ids.bos, *ids] for ids in tokenizer.encode_batch(en)]
    assert len({len(row) for row in src}) > 3
    for a, b, logits in zip(src, tgt, logits_of(model, src, tgt, side, 0), strict=True):
        assert_near(logits, model(torch.tensor([a]), torch.tensor([b]))[0])
