"""Parts of somebody's own in our models: all of a kind are replaced, and the same mathematics is the same model."""

import pytest
import torch
from torch import nn

from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.attention import AttentionCore
from clearhead.nn.norm import LayerNorm, norms_of
from clearhead.nn.own import BASES, Slot, replace_parts
from tests.own_parts import PlainAttention, PlainMLP, PlainNorm

PARTS: dict[Slot, type[nn.Module]] = {"norm": PlainNorm, "mlp": PlainMLP, "attention": PlainAttention}


def gpt() -> GPT:
    sizes = GPTConfig(d_model=16, d_ff=32, n_heads=4, n_kv_heads=2, n_layers=2, max_seq_len=16, dropout=0.0)
    return GPT(sizes, vocab_size=50)


def translator() -> Transformer:
    sizes = TransformerConfig(
        d_model=16, d_ff=32, n_heads=2, n_encoder_layers=1, n_decoder_layers=2, max_seq_len=16, dropout=0.0
    )
    return Transformer(sizes, src_vocab_size=50, vocab_size=50)


def bert() -> BertPretraining:
    return BertPretraining(BertConfig(d_model=16, d_ff=32, n_heads=2, n_layers=2, max_seq_len=16), vocab_size=50)


def logits(model: nn.Module) -> torch.Tensor:
    ids = torch.arange(24).view(2, 12) % 40 + 5
    if isinstance(model, Transformer):
        return model(ids, src_mask=torch.ones_like(ids, dtype=torch.bool), tgt_ids=ids)
    found = model(ids)
    return found if isinstance(found, torch.Tensor) else found[0]


@pytest.mark.parametrize("make", [gpt, translator, bert])
@pytest.mark.parametrize("slot", ["norm", "attention"])
def test_the_same_mathematics_written_otherwise_is_the_same_model(make: type[nn.Module], slot: Slot) -> None:
    ours, theirs = make().eval(), make()
    replace_parts(theirs, slot, PARTS[slot])
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(logits(theirs.eval()), logits(ours), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "norms", "layers", "cores"), [(gpt, 5, 2, 2), (translator, 10, 3, 5), (bert, 6, 2, 2)]
)
def test_every_part_of_a_kind_is_replaced(make: type[nn.Module], norms: int, layers: int, cores: int) -> None:
    model = make()
    assert len(norms_of(model)) == norms
    for slot, part in PARTS.items():
        assert issubclass(part, BASES[slot])
        replace_parts(model, slot, part)
    parts = list(model.modules())
    assert not any(isinstance(part, LayerNorm) for part in parts)
    assert sum(isinstance(part, PlainNorm) for part in parts) == norms
    assert sum(isinstance(part, PlainMLP) for part in parts) == layers
    assert [type(part) for part in parts if isinstance(part, AttentionCore)] == [PlainAttention] * cores
    assert logits(model).isfinite().all()


def test_a_norm_keeps_the_epsilon_of_ours() -> None:
    model = gpt()
    before = [norm.eps for norm in norms_of(model)]
    replace_parts(model, "norm", PlainNorm)
    assert [norm.eps for norm in norms_of(model)] == before
