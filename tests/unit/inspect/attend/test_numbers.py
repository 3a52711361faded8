"""One query in numbers against the modules: every kind of attention, mask and sharing; and what cannot be picked."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from clearhead.errors import ModelError, UsageError
from clearhead.inspect.attend.numbers import Pick, query, worked_out
from clearhead.inspect.heads import Texts, attention_maps
from clearhead.models.rnn import RNNConfig, RNNTranslator
from clearhead.nn import attention
from clearhead.nn.layer import BlockConfig
from tests.families import assert_unchanged
from tests.small import VOCAB, assert_near, padded, random_rows, small, small_gpt
from tests.unit.inspect.test_heads import small_bert

IDS = torch.tensor([[5, 9, 4, 7, 2, 6]])
Model = tuple[nn.Module, Callable[[nn.Module], Tensor]]


def recurrent() -> RNNTranslator:
    torch.manual_seed(0)
    return RNNTranslator(RNNConfig(d_model=16, dropout=0.0), src_vocab_size=VOCAB, vocab_size=VOCAB).eval()


MODELS: dict[str, Callable[[], Model]] = {
    "translator": lambda: (small(n_kv_heads=2), lambda model: model(IDS, IDS[:, :4])),
    "multi-query": lambda: (small_gpt(n_kv_heads=1, position="rotary"), lambda model: model(IDS)),
    "alibi": lambda: (small_gpt(position="alibi"), lambda model: model(IDS)),
    "normalized": lambda: (small_gpt(block=BlockConfig(attention="qk_norm")), lambda model: model(IDS)),
    "additive": lambda: (small(block=BlockConfig(attention="additive")), lambda model: model(IDS, IDS[:, :4])),
    "bert": lambda: (small_bert(), lambda model: model(IDS)),
    "recurrent": lambda: (recurrent(), lambda model: model(IDS, IDS[:, :4])),
}


@pytest.mark.parametrize("name", MODELS)
def test_by_hand_is_what_the_module_computes(name: str) -> None:
    model, read = MODELS[name]()
    maps = {its.name: its for its in attention_maps(model, lambda: read(model))}
    for head in (0, -1):
        view = query(model, lambda: read(model), pick=Pick(head=head, query=1))
        its = maps[view.name]
        assert view.head == head % len(its.heads)
        assert view.weights == pytest.approx(its.weights[view.head, 1].tolist(), abs=1e-5)
        assert sum(view.weights) == pytest.approx(1)
        assert max(view.apart, view.weights_apart) < 2e-5 * max(map(abs, view.gave)) + 1e-5
        assert view.output_apart is None if name == "recurrent" else view.output_apart < 1e-3
        assert max(map(len, view.lines(80))) <= 80
    assert (view.scale is None) == (name in ("additive", "recurrent"))
    assert view.normalized == (name == "normalized")
    assert view.turned == (name == "multi-query")
    assert view.kv_head == {"translator": 1, "multi-query": 0}.get(name, view.head)


def test_nothing_changes() -> None:
    model, read = MODELS["translator"]()
    assert_unchanged(model, (IDS, IDS[:, :4]), lambda: query(model, lambda: read(model)))


def test_masks_are_seen_as_what_they_add() -> None:
    gpt, _ = MODELS["alibi"]()
    view = query(gpt, lambda: gpt(IDS), pick=Pick(head=1, query=3))
    slope = 2.0**-4
    assert view.mask == [-3 * slope, -2 * slope, -slope, 0.0, -math.inf, -math.inf]
    assert view.weights[4:] == [0.0, 0.0]
    assert "-inf" in "\n".join(view.lines(80))
    ids, mask = padded(random_rows([3, 7]))
    model = small()
    view = query(model, lambda: model(ids, IDS.expand(2, -1), src_mask=mask), pick=Pick("cross"))
    assert [not math.isfinite(added) for added in view.mask] == (~mask[0]).tolist()


def test_the_formula_itself() -> None:
    q, k, v = (torch.randn(*shape, generator=torch.Generator().manual_seed(1)) for shape in ((8,), (5, 8), (5, 8)))
    worked = worked_out(q, k, v)
    assert_near(worked.scores.float(), (k @ q) / math.sqrt(8))
    assert_near(worked.mixed.float(), nn.functional.scaled_dot_product_attention(q[None], k, v)[0])


def test_an_attention_that_divides_by_something_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    class Math:
        sqrt = staticmethod(float)

    monkeypatch.setattr(attention, "math", Math)
    model, read = MODELS["translator"]()
    assert query(model, lambda: read(model)).weights_apart > 0.01


def test_which_query_is_picked() -> None:
    model, read = MODELS["translator"]()
    names = {"self": Texts("abcdef", "abcdef"), "causal": Texts("wxyz", "wxyz"), "cross": Texts("wxyz", "abcdef")}

    def picked(pick: Pick) -> tuple[str, str, list[str]]:
        view = query(model, lambda: read(model), pick=pick, names=lambda kind, *_: names[kind])
        return view.name, view.asks, view.keys

    assert picked(Pick()) == ("decoder.layers.1.cross_attn", "z", list("abcdef"))
    assert picked(Pick("encoder", 0, 3, -2)) == ("encoder.layers.0.attn", "e", list("abcdef"))
    assert picked(Pick("decoder", -1, query=0)) == ("decoder.layers.1.attn", "w", list("wxyz"))
    gpt, _ = MODELS["alibi"]()
    assert query(gpt, lambda: gpt(IDS)).name == "layers.1.attn"


@pytest.mark.parametrize(
    ("pick", "said"),
    [
        (Pick(layer=2), r"layer 2: must be from 0 to 1, or from -1 to -2 to count from the end"),
        (Pick(head=-5), r"head -5: must be from 0 to 3"),
        (Pick(query=6), r"query 6: must be from 0 to 5"),
        (Pick("cross"), r"attention 'cross': a GPT has decoder"),
    ],
)
def test_what_the_model_does_not_have_is_one_line(pick: Pick, said: str) -> None:
    model = small_gpt()
    with pytest.raises(UsageError, match=said):
        query(model, lambda: model(IDS), pick=pick)
    assert not any(one._forward_hooks for one in model.modules())


def test_models_without_attention() -> None:
    with pytest.raises(ModelError, match="attention: a Linear has none"):
        query(nn.Linear(2, 2), lambda: None)
    with pytest.raises(ModelError, match=r"attention 'layers.1.attn': did not run"):
        query(small_gpt(), lambda: None)
