"""The encoder-only model: padding, both sides seen, segments, heads, gathered rows, errors, sizes, initialization."""

import math
from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from clearhead.loss import LossConfig, linear_cross_entropy
from clearhead.meter.watch import watching
from clearhead.models.bert import (
    Bert,
    BertClassifier,
    BertConfig,
    BertKind,
    BertPretraining,
    NoPooler,
    build_bert,
    mean_of,
)
from clearhead.nn.layer import BlockConfig
from clearhead.nn.norm import NormName
from clearhead.nn.position import PositionName
from tests.small import VOCAB, assert_near, padded, random_rows, shake

SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 2, "max_seq_len": 32, "dropout": 0.0}
BLOCK: dict[str, Any] = {"norm_position": "post", "activation": "gelu", "norm_groups": 4, "norm_eps": 1e-12}
POSITIONS = get_args(PositionName)
NORMS = get_args(NormName)
LENGTHS = [3, 8, 1, 6]
SIDES = ("left", "right")


def small_config(**words: Any) -> BertConfig:
    """Returns a small config; ``words`` set its fields or those of its block."""
    block = {name: words.pop(name) for name in list(words) if name in BlockConfig.__dataclass_fields__}
    return BertConfig(**{**SIZES, **words}, block=BlockConfig(**{**BLOCK, **block}))


def small_bert(kind: BertKind = "pretraining", n_labels: int = 1, **words: Any) -> Any:
    """Returns a random model in evaluation mode whose weights have left their initial values."""
    torch.manual_seed(0)
    model = build_bert(kind, small_config(**words), vocab_size=VOCAB, n_labels=n_labels)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "norm" not in name:
            parameter.data *= 8  # at 0.02 attention is nearly uniform, and the tests would not see a wrong one
    shake(model)
    return model.eval()


def segments_of(mask: Tensor) -> Tensor:
    """Puts every real piece from the third on into the second segment."""
    return ((mask.long().cumsum(1) > 2) & mask).long()


def alone(model: nn.Module, rows: list[list[int]]) -> list[Any]:
    """Returns the model's output for each row alone, without padding."""
    ids = [torch.tensor([row]) for row in rows]
    return [model(row_ids, segments=segments_of(torch.ones_like(row_ids, dtype=torch.bool))) for row_ids in ids]


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize("attention", ["scaled_dot_product", "qk_norm"])
@torch.no_grad()
def test_padded_equals_alone(side: str, position: str, attention: str) -> None:
    model, rows = small_bert(n_kv_heads=2, position=position, attention=attention), random_rows(LENGTHS)
    (ids, mask), expected = padded(rows, side, 2), alone(model, rows)
    for batch in (ids, ids.masked_fill(~mask, 7)):  # the ids at padding must not matter
        states = model.bert(batch, mask=mask, segments=segments_of(mask))
        assert states.isfinite().all()  # at padding too: a NaN there would spread
        logits = model(batch, mask=mask, segments=segments_of(mask), at=mask)
        assert_near(logits.mlm, torch.cat([row.mlm for row in expected]))
        assert_near(logits.nsp, torch.cat([row.nsp for row in expected]))


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_padded_equals_alone_with_every_norm(side: str, place: str, norm: str) -> None:
    rows = random_rows(LENGTHS)
    (ids, mask), words = padded(rows, side, 1), {"norm": norm, "norm_position": place, "activation": "geglu"}
    for kind in ("pretraining", "sequence", "token"):
        model = small_bert(kind, 3, bias=kind == "token", **words)
        together = model(ids, mask=mask, segments=segments_of(mask))
        for row, expected in enumerate(alone(model, rows)):
            if kind == "pretraining":
                assert_near(together.mlm.view(*ids.shape, -1)[row, mask[row]], expected.mlm)
                assert_near(together.nsp[row], expected.nsp[0])
            else:
                assert_near(together[row, mask[row]] if kind == "token" else together[row], expected[0])


def gradients(model: nn.Module, losses: list[Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    torch.stack(losses).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def joint(logits: Any, targets: Tensor) -> Tensor:
    mlm = functional.cross_entropy(logits.mlm, targets, reduction="sum")
    return mlm + functional.cross_entropy(logits.nsp, torch.zeros(len(logits.nsp), dtype=torch.long), reduction="sum")


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("position", ["learned", "rotary"])
def test_gradients_of_a_padded_batch_are_those_of_its_rows(side: str, place: str, position: str) -> None:
    model, rows = small_bert(norm_position=place, position=position).train(), random_rows(LENGTHS)
    ids, mask = padded(rows, side, 2)
    batch = gradients(model, [joint(model(ids, mask=mask, segments=segments_of(mask), at=mask), ids[mask])])
    outputs = zip(alone(model, rows), rows, strict=True)
    each = gradients(model, [joint(output, torch.tensor(row)) for output, row in outputs])
    assert batch.keys() == each.keys()
    for name in batch:
        assert batch[name].abs().max() > 1e-4 or name.endswith("k_proj.bias"), name  # which cancels in the softmax
        assert_near(batch[name], each[name])


@torch.no_grad()
def test_every_position_sees_both_sides() -> None:
    for position in POSITIONS:
        model, ids = small_bert("encoder", position=position), torch.tensor(random_rows([9]))
        for at in (0, 4, 8):
            changed = ids.clone()
            changed[:, at] = (ids[:, at] - 3) % (VOCAB - 4) + 4
            assert ((model(changed) - model(ids)).abs().amax(-1) > 1e-3).all()
        turned = model(ids.flip(1)).flip(1)
        assert torch.allclose(turned, model(ids), atol=1e-4) == (position == "none")  # only positions carry the order


@torch.no_grad()
def test_segments_are_told_apart_and_the_first_is_what_none_means() -> None:
    model, ids = small_bert(), torch.tensor(random_rows([6, 6]))
    plain = model(ids)
    same = model(ids, segments=torch.zeros_like(ids))
    other = model(ids, segments=torch.tensor([[0, 0, 0, 1, 1, 1]] * 2))
    assert_near(same.mlm, plain.mlm)
    assert ((other.mlm - plain.mlm).abs().amax(-1) > 1e-3).all()
    assert small_bert(n_segments=5).bert.embedding.segments.weight.shape == (5, 16)


@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_the_head_on_gathered_rows_equals_it_on_all(norm: str) -> None:
    model, (ids, mask) = small_bert(norm=norm), padded(random_rows(LENGTHS))
    at = mask & (torch.rand(mask.shape) < 0.4)
    assert 0 < at.sum() < mask.sum()
    every = model(ids, mask=mask).mlm.view(*ids.shape, VOCAB)
    some = model(ids, mask=mask, at=at)
    assert some.mlm.shape == (at.sum(), VOCAB)
    assert_near(some.mlm, every[at])
    states = model.bert(ids, mask=mask)[at]
    assert torch.equal(model.mlm_head.out_proj(model.mlm_head.features(states)), some.mlm)
    assert model(ids, mask=mask, at=torch.zeros_like(mask)).mlm.shape == (0, VOCAB)


def test_the_fused_loss_of_hidden_pieces_is_the_plain_one() -> None:
    model, (ids, mask) = small_bert(), padded(random_rows(LENGTHS))
    at = mask & (torch.rand(mask.shape) < 0.5)
    out = model.mlm_head.out_proj
    fused = [
        linear_cross_entropy(
            model.mlm_head.features(model.bert(ids, mask=mask)[at]),
            out.weight,
            ids[at],
            LossConfig(label_smoothing=0.1, chunk_size=3),
            bias=out.bias,
        )[0],
        model(ids, mask=mask).nsp.sum(),
    ]
    logits = model(ids, mask=mask, at=at)
    plain = [functional.cross_entropy(logits.mlm, ids[at], reduction="sum", label_smoothing=0.1), logits.nsp.sum()]
    torch.testing.assert_close(fused[0], plain[0])
    first, second = gradients(model, fused), gradients(model, plain)
    for name in first:
        assert_near(first[name], second[name])


@pytest.mark.parametrize("side", SIDES)
@torch.no_grad()
def test_the_pooler_reads_the_first_real_piece(side: str) -> None:
    model, (ids, mask) = small_bert("pooled"), padded(random_rows(LENGTHS), side)
    states, pooler = model(ids, mask=mask), model.pooler
    first = torch.stack([states[row, mask[row]][0] for row in range(len(ids))])
    assert_near(pooler(states, mask), torch.tanh(first @ pooler.proj.weight.T + pooler.proj.bias))
    assert_near(pooler(states), torch.tanh(states[:, 0] @ pooler.proj.weight.T + pooler.proj.bias))
    assert torch.equal(NoPooler()(states, mask), states)


@pytest.mark.parametrize("side", SIDES)
@torch.no_grad()
def test_the_mean_of_a_padded_row_is_that_of_the_row_alone(side: str) -> None:
    torch.manual_seed(0)
    words = {"vocab_size": VOCAB, "kind": "sequence", "n_labels": 3}
    model = BertClassifier(small_config(position="rotary"), pooling="mean", **words)
    shake(model)
    rows = random_rows(LENGTHS)
    ids, mask = padded(rows, side, 2)
    states, pooler = model.bert(ids, mask=mask), model.bert.pooler
    means = torch.stack([states[row, mask[row]].mean(dim=0) for row in range(len(ids))])
    assert_near(pooler(states, mask), torch.tanh(means @ pooler.proj.weight.T + pooler.proj.bias))
    assert_near(mean_of(states), states.mean(dim=1))
    model.eval()
    expected = torch.cat(alone(model, rows))
    for batch in (ids, ids.masked_fill(~mask, 7)):
        assert_near(model(batch, mask=mask, segments=segments_of(mask)), expected)
    first = BertClassifier(small_config(position="rotary"), **words).eval()
    first.load_state_dict(model.state_dict())  # both have the same weights
    assert (first(ids, mask=mask) - expected)[[0, 1, 3]].abs().max() > 1e-3
    assert_near(first(ids, mask=mask)[2], expected[2])  # of one piece


def test_what_each_kind_is_made_of() -> None:
    names = {kind: set(small_bert(kind).state_dict()) for kind in get_args(BertKind)}
    pooler = {"pooler.proj.weight", "pooler.proj.bias"}
    assert names["pooled"] - names["encoder"] == pooler
    inside = {f"bert.{name}" for name in names["encoder"]}
    assert names["masked"] - inside == {
        *(f"mlm_head.{part}.{kind}" for part in ("proj", "norm", "out_proj") for kind in ("weight", "bias")),
    }
    pooler = {f"bert.{name}" for name in pooler}
    assert names["pretraining"] - names["masked"] == pooler | {"nsp_head.out_proj.weight", "nsp_head.out_proj.bias"}
    assert names["token"] - inside == {"head.out_proj.weight", "head.out_proj.bias"}
    assert names["sequence"] == names["regression"] == names["token"] | pooler


@torch.no_grad()
def test_shapes_of_what_the_models_say() -> None:
    ids = torch.tensor(random_rows([6, 6]))
    assert small_bert("encoder")(ids).shape == (2, 6, 16)
    assert small_bert("sequence", 3)(ids).shape == (2, 3)
    assert small_bert("regression")(ids).shape == (2, 1)
    assert small_bert("token", 5)(ids).shape == (2, 6, 5)
    assert small_bert("masked")(ids).nsp is None
    logits = small_bert("pretraining")(ids)
    assert (logits.mlm.shape, logits.nsp.shape) == ((12, VOCAB), (2, 2))


def test_the_output_layer_of_hidden_pieces_is_the_table_and_a_bias() -> None:
    model = small_bert()
    assert model.mlm_head.out_proj.weight is model.bert.embedding.tokens.weight
    assert model.mlm_head.out_proj.bias.shape == (VOCAB,)


@pytest.mark.long
def test_every_combination_trains() -> None:
    ids = torch.tensor(random_rows([6, 6]))
    for norm, position, attention, place in product(NORMS, POSITIONS, ("qk_norm", "additive"), ("pre", "post")):
        if position == "rotary" and attention == "additive":
            continue
        words = {"norm": norm, "position": position, "attention": attention, "norm_position": place}
        model = small_bert(**words, stochastic_depth=0.1, dropout=0.1, attn_dropout=0.1, activation="swiglu").train()
        logits = model(ids, segments=torch.tensor([[0, 0, 0, 1, 1, 1]] * 2))
        (logits.mlm.logsumexp(-1).square().mean() + logits.nsp.square().mean()).backward()
        wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert wrong == [], words


@pytest.mark.parametrize("position", POSITIONS)
@torch.no_grad()
def test_watched_equals_fused(position: str) -> None:
    model, (ids, mask) = small_bert(n_kv_heads=2, position=position), padded(random_rows(LENGTHS), "left")
    before = model(ids, mask=mask)
    taps = {name: module for name, module in model.named_modules() if name.endswith("tap")}
    with watching({**taps, "states": model.bert}) as seen:
        assert_near(model(ids, mask=mask).mlm, before.mlm)
    states = seen.pop("states")
    assert states[0].shape == (*ids.shape, 16)
    assert len(seen) == 2
    for (weights,) in seen.values():
        assert_near(weights.sum(-1), torch.ones(4, 4, 8))
        assert not weights[0, :, :, :5].any()  # nothing attends to padding
        assert weights[0, :, 5:, 5:].all()


def test_parameters_of_bert() -> None:
    sizes = {"d_model": 768, "d_ff": 3072, "n_heads": 12, "n_layers": 12, "max_seq_len": 512}
    with torch.device("meta"):
        model = BertPretraining(BertConfig(**sizes), vocab_size=30522, pad_id=0)
    assert sum(parameter.numel() for parameter in model.bert.parameters()) == 109_482_240
    assert sum(parameter.numel() for parameter in model.parameters()) == 110_106_428


@pytest.mark.parametrize("place", ["pre", "post"])
def test_it_starts_as_bert_does(place: str) -> None:
    torch.manual_seed(0)
    config = BertConfig(d_model=128, d_ff=512, n_heads=4, n_layers=8, block=BlockConfig(norm_position=place))
    models = [
        BertPretraining(config, vocab_size=600, pad_id=5).requires_grad_(False),
        BertClassifier(config, vocab_size=600, kind="token", n_labels=90, pad_id=5).requires_grad_(False),
    ]
    for name, tensor in [pair for model in models for pair in model.named_parameters()]:
        if tensor.dim() == 1:
            assert torch.equal(tensor, torch.ones_like(tensor) if "norm.weight" in name else torch.zeros_like(tensor))
        elif len(tensor) > 2:
            ends = place == "pre" and name.endswith(("o_proj.weight", "down_proj.weight"))
            std = 0.02 / math.sqrt(16) if ends else 0.02
            assert abs(float(tensor.std()) / std - 1) < 0.03, name
            assert abs(float(tensor.mean())) < 0.05 * std, name
    table = models[0].bert.embedding.tokens.weight
    assert not table[5].any()
    assert table[[4, 6]].any(1).all()


def test_defaults_are_berts() -> None:
    block = BertConfig().block
    assert (block.norm, block.norm_position, block.norm_eps, block.activation, block.bias) == (
        *("layer", "post", 1e-12, "gelu", True),
    )
    assert (BertConfig().position, BertConfig().n_segments, BertConfig().max_seq_len) == ("learned", 2, 512)


def test_dropout_stands_in_its_places() -> None:
    model = small_bert("sequence", 3, dropout=0.3, attn_dropout=0.2)
    first = model.bert.layers[0]
    assert (first.attn_residual.dropout.p, first.attn.core.dropout.p) == (0.3, 0.2)
    assert (model.bert.embedding.dropout.p, model.head.dropout.p) == (0.3, 0.3)
    model = small_bert("sequence", 3, dropout=0.3, embed_dropout=0.0, head_dropout=0.4)
    assert (model.bert.embedding.dropout.p, model.head.dropout.p) == (0.0, 0.4)
    rates = [layer.attn_residual.drop_path for layer in small_bert("encoder", n_layers=4, stochastic_depth=0.4).layers]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"n_heads": 7}, "model.n_heads = 7: must divide model.d_model = 16"),
        ({"n_kv_heads": 3}, "model.n_kv_heads = 3: must divide model.n_heads = 4"),
        ({"d_model": 12, "position": "rotary"}, "model.position = 'rotary': needs an even head size, not 3"),
        ({"norm": "group", "norm_groups": 7}, "model.block.norm_groups = 7: must divide model.d_model = 16"),
    ],
)
def test_sizes_that_do_not_fit_are_named(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small_config(**words)


def test_labels_that_do_not_fit_are_named() -> None:
    for kind, count in (("regression", 2), ("sequence", 0), ("token", 0)):
        with pytest.raises(ValueError, match=f"n_labels = {count}: must be 1 for regression, and otherwise at least 1"):
            BertClassifier(small_config(), vocab_size=VOCAB, kind=kind, n_labels=count)
    with pytest.raises(ValueError, match=r"ngrams = 2: runs of pieces speak for the label of a whole text"):
        BertClassifier(small_config(), vocab_size=VOCAB, kind="token", n_labels=3, ngrams=2)


def test_a_sequence_beyond_the_longest_is_refused() -> None:
    model = Bert(small_config(max_seq_len=4, position="rotary"), vocab_size=VOCAB)
    model(torch.full((1, 4), 4))
    with pytest.raises(ValueError, match="a sequence of 5 pieces: must be at most max_seq_len = 4"):
        model(torch.full((1, 5), 4))
