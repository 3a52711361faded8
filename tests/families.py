"""One small model of each family with what it is called by: what the tests of views share."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from clearhead.inspect.call import call
from clearhead.models.bert import BertConfig, BertPretraining
from tests.small import VOCAB, small, small_gpt

IDS = torch.randint(4, VOCAB, (2, 8), generator=torch.Generator().manual_seed(0))
BERT: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 2, "max_seq_len": 16}


def families() -> dict[str, tuple[nn.Module, Any]]:
    """Returns an encoder-decoder, a GPT and a BERT, with dropout and grouped heads, in evaluation mode."""
    torch.manual_seed(0)
    return {
        "transformer": (small(position="rotary", n_kv_heads=2, dropout=0.1), (IDS, IDS)),
        "gpt": (small_gpt(tie=True, n_kv_heads=2, dropout=0.1), IDS),
        "bert": (BertPretraining(BertConfig(**BERT), vocab_size=VOCAB).eval(), {"ids": IDS, "mask": IDS > 5}),
    }


FAMILIES = ("transformer", "gpt", "bert")


def assert_unchanged(model: nn.Module, batch: Any, look: Callable[[], object]) -> None:
    """Looking leaves outputs, state, gradients, modes, random numbers, hooks and dispatch modes as they were."""
    before, state, rng = _first(model, batch), copy.deepcopy(model.state_dict()), torch.get_rng_state()
    grads = [parameter.grad for parameter in model.parameters()]
    modes = [module.training for module in model.modules()]
    look()
    assert torch.equal(torch.get_rng_state(), rng)
    assert torch.equal(_first(model, batch), before)
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(one is parameter.grad for one, parameter in zip(grads, model.parameters(), strict=True))
    assert modes == [module.training for module in model.modules()]
    assert_no_watcher(model)


def assert_no_watcher(model: nn.Module) -> None:
    """No hook and no mode is left."""
    assert not torch_module._global_forward_hooks
    assert not torch_module._global_forward_pre_hooks
    assert not _get_current_dispatch_mode_stack()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not any(parameter._backward_hooks for parameter in model.parameters())
    assert not any(parameter._post_accumulate_grad_hooks for parameter in model.parameters())


def _first(model: nn.Module, batch: Any) -> Tensor:
    with torch.no_grad():
        found = call(model, batch)
    return found if isinstance(found, Tensor) else found[0]
