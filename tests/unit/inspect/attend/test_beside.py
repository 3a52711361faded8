"""Models side by side: what is kept is what a cache holds, shared heads have their names, entropies are the heads'."""

import math

import pytest
import torch
from torch import nn

from clearhead.errors import ModelError, UsageError
from clearhead.inspect.attend.beside import built, parts
from clearhead.inspect.heads import attention
from clearhead.nn.layer import BlockConfig
from tests.families import assert_unchanged
from tests.small import padded, random_rows, small, small_gpt, small_rnn
from tests.unit.inspect.test_heads import small_bert

IDS = torch.tensor([[5, 9, 4, 7, 2, 6]])


@pytest.mark.parametrize(("kv_heads", "word"), [(4, "multi-head"), (2, "grouped-query"), (1, "multi-query")])
def test_what_is_kept_of_a_position_is_what_the_cache_holds(kv_heads: int, word: str) -> None:
    gpt = small_gpt(n_kv_heads=kv_heads)
    one = built(gpt, lambda: gpt(IDS))
    assert one.cache == gpt.new_cache(1, capacity=1).buffer.nbytes
    assert one.source == 0
    assert [(heads.kind, heads.layers, heads.n_heads, heads.n_kv_heads) for heads in one.heads] == [
        ("causal", 2, 4, kv_heads)
    ]
    assert one.heads[0].sharing == word
    translator = small(n_kv_heads=kv_heads)
    one = built(translator, lambda: translator(IDS, IDS))
    memory = translator.encoder(IDS)
    kept = sum(part.nbytes for pair in translator.decoder.keys_values(memory) for part in pair)
    assert one.source * IDS.shape[1] == kept
    assert [heads.kind for heads in one.heads] == ["self", "causal", "cross"]


def test_entropies_are_those_of_the_heads() -> None:
    model = small_gpt()
    view = attention(model, lambda: model(IDS))
    (heads,) = built(model, lambda: model(IDS)).heads
    each = [head.entropy for its in view.maps for head in its.heads]
    assert heads.entropies == pytest.approx([math.fsum(each[:4]) / 4, math.fsum(each[4:]) / 4])
    assert (heads.least, heads.most) == (min(each), max(each))


def test_norms_are_told_apart() -> None:
    post = small(block=BlockConfig(norm="rms", norm_position="post"))
    one = built(post, lambda: post(IDS, IDS))
    assert (one.norm, one.place, one.beta, one.difference) == ("RMSNorm", "post", None, 0.0)
    assert one.norms == 2 * 2 + 2 * 3
    assert one.gamma is not None
    assert one.gamma[0] == pytest.approx(1.15, abs=0.02)  # shaken
    batch = small(block=BlockConfig(norm="batch"))
    ids, mask = padded(random_rows([7, 3]))
    one = built(batch, lambda: batch(ids, ids, src_mask=mask, tgt_mask=mask))
    assert (one.norm, one.place) == ("BatchNorm", "pre")
    assert one.difference is not None
    assert one.difference > 0.01


def test_runs_of_all_kinds_stand_in_one_table() -> None:
    gpt, bert, rnn = small_gpt(n_kv_heads=1), small_bert(), small_rnn()
    models = {"gpt": (gpt, lambda: gpt(IDS)), "bert": (bert, lambda: bert(IDS)), "rnn": (rnn, lambda: rnn(IDS[:, :5]))}
    views = []
    assert_unchanged(gpt, IDS, lambda: views.append(parts(models)))
    lines = views[0].lines(80)
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:3] == ["gpt", "LayerNorm", "pre"] for line in lines)
    assert any(line.split()[:3] == ["bert", "LayerNorm", "post"] for line in lines)
    assert any("multi-query" in line for line in lines)
    assert any(line.split() == ["rnn", "none"] for line in lines)
    assert "'bert' keeps no keys and values: it has no cache" in lines
    assert "'rnn' keeps no keys and values: it has no cache" in lines


def test_no_model_and_one_that_is_compiled() -> None:
    with pytest.raises(UsageError, match="models: must be one or more"):
        parts({})
    compiled = small_gpt()
    compiled.compile(backend="eager")
    with pytest.raises(ModelError, match="is compiled"):
        parts({"x": (compiled, lambda: compiled(IDS))})
    assert built(nn.Linear(2, 2), lambda: None).norm == ""
