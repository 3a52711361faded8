"""Watching modules: what they returned, call by call, and no hook left behind, whatever happens."""

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.meter.watch import watching
from tests.small import assert_near, padded, random_rows, small


def hooks(model: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def test_outputs_come_by_name_and_call_and_the_result_stays() -> None:
    model, (ids, mask) = small(), padded(random_rows([4, 2]))
    tap = model.decoder.layers[0].cross_attn.core.tap
    with torch.inference_mode():
        plain = model(ids, ids, src_mask=mask)
        with watching({"encoder": model.encoder, "weights": tap}) as seen:
            watched = [model(ids, ids, src_mask=mask), model(ids[:1], ids[:1, :3])]
        memory = model.encoder(ids, mask)
    assert_near(watched[0], plain)
    assert_near(seen["encoder"][0], memory)
    assert [tuple(one.shape) for one in seen["weights"]] == [(2, 4, 4, 4), (1, 4, 3, 4)]
    assert_near(seen["weights"][0].sum(-1), torch.ones(2, 4, 4))
    assert seen["weights"][0][1, :, :, 2:].abs().max() == 0, "padding is attended to"
    assert hooks(model) == 0


def test_hooks_are_gone_after_an_error_and_nothing_keeps_the_graph() -> None:
    model, (ids, _) = small(), padded(random_rows([3]))
    with pytest.raises(IndexError), watching({"encoder": model.encoder}) as seen:
        model(ids, ids + 1000)
    assert len(seen["encoder"]) == 1, "the error came after the encoder"
    assert hooks(model) == 0
    assert not seen["encoder"][0].requires_grad


def test_what_is_kept_is_bounded_and_may_be_the_first_row() -> None:
    model, (ids, _) = small(), padded(random_rows([4, 3]))
    with torch.inference_mode(), watching({"encoder": model.encoder}, first_row=True) as seen:
        model(ids, ids)
    assert seen["encoder"][0].shape == (1, 4, 16)
    assert seen["encoder"][0].untyped_storage().nbytes() == 4 * 16 * 4, "the other rows are still held"
    bound = 4 * 16 * 4
    with torch.inference_mode(), watching({"encoder": model.encoder}, most_bytes=bound, first_row=True):
        model(ids, ids)
    with pytest.raises(ModelError, match=r"watching 1 modules would keep more than 255 B"):  # noqa: SIM117
        with torch.inference_mode(), watching({"encoder": model.encoder}, most_bytes=bound - 1, first_row=True):
            model(ids, ids)
    assert hooks(model) == 0
