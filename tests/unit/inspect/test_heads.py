"""Attention as it is: rows sum to 1, watching changes nothing, types and worth are what they are called."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from clearhead.decode.decoding import CachedDecoding
from clearhead.errors import ModelError
from clearhead.inspect import heads as module
from clearhead.inspect.heads import Prediction, attention, attention_maps, sites_of, without_head
from clearhead.models.bert import Bert, BertConfig
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB, assert_near, padded, random_rows, shake, small, small_gpt

IDS = torch.tensor([[5, 9, 4, 7, 2, 6]])


def small_bert(**sizes: object) -> Bert:
    torch.manual_seed(0)
    model = Bert(BertConfig(d_model=16, d_ff=24, n_heads=4, n_layers=2, max_seq_len=16, **sizes), vocab_size=VOCAB)
    shake(model)
    return model.eval()


FAMILIES: dict[str, Callable[[], tuple[nn.Module, Callable[[nn.Module], Tensor]]]] = {
    "translator": lambda: (small(n_kv_heads=2), lambda model: model(IDS, IDS[:, :4])),
    "gpt": lambda: (small_gpt(n_kv_heads=1, position="rotary"), lambda model: model(IDS)),
    "bert": lambda: (small_bert(), lambda model: model(IDS)),
    "additive": lambda: (small(block=BlockConfig(attention="additive")), lambda model: model(IDS, IDS[:, :4])),
    "alibi": lambda: (small_gpt(position="alibi"), lambda model: model(IDS)),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_sum_to_one_and_nothing_changes(family: str) -> None:
    model, read = FAMILIES[family]()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        plain = read(model)
    seen = []
    maps = attention_maps(model, lambda: seen.append(read(model)))
    assert maps
    for one in maps:
        assert one.weights.shape[0] == 4
        assert one.weights.numel() > 0
        assert_near(one.weights.sum(-1), torch.ones(one.weights.shape[:2]))
        if one.kind == "causal":
            assert one.weights.triu(1).abs().max() == 0
    assert_near(seen[0], plain)
    with torch.inference_mode():
        assert torch.equal(read(model), plain)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_kinds_and_names_are_those_of_the_modules() -> None:
    kinds = {site.name: site.kind for site in sites_of(small())}
    assert kinds["encoder.layers.0.attn"] == "self"
    assert kinds["decoder.layers.1.attn"] == "causal"
    assert kinds["decoder.layers.1.cross_attn"] == "cross"
    assert {site.kind for site in sites_of(small_gpt())} == {"causal"}
    with pytest.raises(ModelError, match="attention: a Linear has none"):
        sites_of(nn.Linear(2, 2))


def test_weights_are_softmax_of_scaled_products() -> None:
    """Against the formula, from the projections of a pre-norm layer."""
    model = small_gpt()
    layer = model.layers[0]
    (weights, *_) = (one.weights for one in attention_maps(model, lambda: model(IDS)))
    with torch.inference_mode():
        x = layer.attn_norm(model.embedding(IDS))
        q, k = (proj(x).view(6, 4, 4).transpose(0, 1) for proj in (layer.attn.q_proj, layer.attn.k_proj))
        scores = (q @ k.transpose(1, 2) / 2).masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
    assert_near(weights, scores.softmax(-1))


def test_a_head_without_output_is_off_and_worth_nothing() -> None:
    model = small_gpt()
    with torch.no_grad():
        model.layers[1].attn.v_proj.weight[4:8] = 0
        model.layers[1].attn.v_proj.bias[4:8] = 0

    def predict() -> Prediction:
        return Prediction(model(IDS[:, :-1])[0], IDS[0, 1:])

    view = attention(model, lambda: model(IDS), predict=predict)
    off = [(one.name, head.head) for one in view.maps for head in one.heads if head.type == "off"]
    assert off == [("layers.1.attn", 1)]
    worth = view.maps[1].heads[1].worth
    assert worth is not None
    assert worth.loss == pytest.approx(0, abs=1e-6)
    assert worth.divergence == pytest.approx(0, abs=1e-6)
    others = [head.worth for one in view.maps for head in one.heads if head.type != "off"]
    assert min(one.divergence for one in others if one) > 1e-4


def test_worth_is_the_loss_without_the_heads_columns() -> None:
    """Zeroing a head's output is zeroing its columns of the output projection."""
    model = small_gpt(seed=3)

    def predict() -> Prediction:
        return Prediction(model(IDS[:, :-1])[0], IDS[0, 1:])

    view = attention(model, lambda: model(IDS), predict=predict)
    worth = view.maps[0].heads[2].worth
    with torch.no_grad():
        whole = nn.functional.cross_entropy(predict().logits, IDS[0, 1:])
        model.layers[0].attn.o_proj.weight[:, 8:12] = 0
        less = nn.functional.cross_entropy(predict().logits, IDS[0, 1:])
    assert worth is not None
    assert view.loss == pytest.approx(float(whole), abs=1e-5)
    assert worth.loss == pytest.approx(float(less - whole), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "weights", "name"),
    [
        ("causal", torch.eye(5).roll(-1, 1).tril() + torch.eye(5)[:1].T @ torch.eye(5)[:1], "previous"),
        ("self", torch.eye(5), "diagonal"),
        ("self", torch.eye(5).roll(1, 1), "next"),
        ("causal", torch.eye(5)[:1].expand(5, 5), "first"),
        ("cross", torch.eye(6)[-1:].expand(5, 6), "last"),
        ("cross", torch.eye(6)[[0, 1, 3, 4, 5]], "diagonal"),
        ("self", torch.full((5, 5), 0.2), "broad"),
        ("causal", torch.ones(5, 5).tril() / torch.arange(1, 6)[:, None], "broad"),
        ("self", torch.eye(5)[[2, 4, 1, 0, 3]], "mixed"),
        ("cross", torch.ones(3, 1), "one key"),
    ],
)
def test_types_are_what_they_are_called(kind: module.Kind, weights: Tensor, name: str) -> None:
    found = module._head(0, weights.contiguous(), kind, off=False)
    assert found.type == name, found
    even = -(weights * weights.clamp(min=1e-30).log()).sum(-1).mean()
    assert found.entropy == pytest.approx(float(even), abs=1e-5)


def test_everything_watched_decodes_the_same_with_cache_beams_and_padding() -> None:
    model = small(n_kv_heads=2)
    ids, mask = padded(random_rows([5, 3]))

    def logits() -> list[Tensor]:
        with torch.inference_mode():
            decoding = CachedDecoding(model, ids, mask, beam=2)
            found = []
            for piece in (1, 5, 7, 9):
                found.append(decoding.advance(torch.tensor([piece, piece + 1, piece, piece + 2])))
                decoding.reorder(torch.tensor([1, 0, 3, 3]))
        return found

    plain = logits()
    with module.watching({site.name: site.core.tap for site in sites_of(model)}) as seen:
        watched = logits()
    for one, other in zip(watched, plain, strict=True):
        assert_near(one, other)
    for weights in (weight for calls in seen.values() for weight in calls):
        assert_near(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert {len(calls) for name, calls in seen.items() if name.startswith("decoder")} == {4}


def test_hooks_are_gone_after_an_error() -> None:
    model = small_gpt()

    def fail() -> None:
        model(IDS)
        raise KeyError

    with pytest.raises(KeyError):
        attention(model, fail)
    with pytest.raises(KeyError), without_head(model.layers[0].attn.core, 1):
        raise KeyError
    assert not any(one._forward_hooks or one._forward_pre_hooks for one in model.modules())


def test_bad_models_and_long_texts_are_one_clear_line() -> None:
    model = small_gpt()
    with pytest.raises(ModelError, match="would keep more than 1,000 B; give a shorter text"):
        attention_maps(model, lambda: model(IDS), most_bytes=1000)
    with torch.no_grad():
        model.layers[1].attn.k_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"'layers.1.attn': the weights are NaN; so are parameters: layers.1.attn.k_"):
        attention(model, lambda: model(IDS))
    with pytest.raises(ModelError, match="is compiled, where hooks are ignored"):
        attention(torch.compile(model), lambda: model(IDS))  # type: ignore[arg-type]


def test_the_view_says_all_heads_in_80_columns() -> None:
    model = small(n_kv_heads=2)
    view = attention(
        model, lambda: model(IDS, IDS[:, :4]), names=lambda kind, q, k: module.Texts(["苹果"] * q, ["吃"] * k)
    )
    lines = view.lines(80)
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("  ") and line.split()[0] in "0123" for line in lines if line.strip()) >= 24
    tree = view.as_dict()
    assert [len(one["heads"]) for one in tree["maps"]] == [4] * 6
    assert tree["maps"][0]["keys"] == ["吃"] * 6
