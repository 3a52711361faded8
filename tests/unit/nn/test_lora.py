"""Low-rank adaptation: it starts as the original layer, trains few weights, and merges into the same function."""

import pytest
import torch
from torch import nn

from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.lora import LoraConfig, LoraLinear, add_lora, merge_lora
from tests.small import assert_near, small_gpt

IDS = torch.tensor([[3, 4, 5, 6]])


def adapted() -> tuple[GPT, torch.Tensor]:
    torch.manual_seed(0)
    model = GPT(GPTConfig(d_model=16, d_ff=32, n_heads=2, n_layers=2, max_seq_len=8), vocab_size=11).eval()
    before = model(IDS).detach()
    assert add_lora(model, LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))) == 4
    return model, before


def test_it_starts_as_the_model_that_is_adapted() -> None:
    model, before = adapted()
    assert torch.equal(model(IDS), before)
    trained = {name.rsplit(".", 1)[1] for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained == {"lora_a", "lora_b"}


def test_merged_it_computes_the_same() -> None:
    model, before = adapted()
    for module in model.modules():
        if isinstance(module, LoraLinear):
            nn.init.normal_(module.lora_b)
    after = model(IDS).detach()
    assert float((after - before).abs().max()) > 1e-3
    names = GPT(model.config, vocab_size=11).state_dict().keys()
    assert merge_lora(model) == 4
    assert model.state_dict().keys() == names
    assert_near(model(IDS), after)
    assert all(weight.requires_grad for weight in model.parameters())


def test_only_the_small_product_learns() -> None:
    layer = LoraLinear(nn.Linear(6, 4), rank=2, alpha=1.0)
    layer(torch.ones(3, 6)).sum().backward()
    assert layer.linear.weight.grad is None
    assert layer.lora_b.grad is not None
    assert float(layer.lora_b.grad.abs().sum()) > 0


def test_what_cannot_be_adapted_is_named() -> None:
    model, _ = adapted()
    with pytest.raises(ValueError, match=r"lora.targets = \['nothing'\]: no linear layer has such a name; there are "):
        add_lora(model, LoraConfig(targets=("k_proj", "nothing")))
    for tie in (True, False):  # the loss reads its weight, which may be the embedding table
        gpt = small_gpt(tie=tie)
        with pytest.raises(ValueError, match=r"lora.targets = \['lm_head'\]: an output layer is not adapted") as caught:
            add_lora(gpt, LoraConfig(targets=("q_proj", "lm_head")))
        offered = str(caught.value).rpartition("there are ")[2].split(", ")
        assert "lm_head" not in offered
        assert add_lora(gpt, LoraConfig(rank=1, targets=tuple(offered))) == 2 * len(offered), "what is offered is taken"
    with pytest.raises(ValueError, match=r"^lora.rank = 1000: must be from 1 to \d+, the smaller side of [qk]_proj$"):
        add_lora(small_gpt(), LoraConfig(rank=1000))
    with pytest.raises(ValueError, match="rank = 5: must be from 1 to 4"):
        LoraLinear(nn.Linear(6, 4), rank=5, alpha=1.0)
