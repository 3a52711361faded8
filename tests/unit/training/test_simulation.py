"""Steps without content: bytes and products are those that formulas, and a real step, give."""

import pytest
import torch
from torch import Tensor, nn

from clearhead.loss import LossConfig, linear_cross_entropy
from clearhead.meter.live import Live
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.optim.build import OptimConfig
from clearhead.training.config import MachineConfig
from clearhead.training.simulation import simulate, without_step

ROWS, WIDTH, VOCAB = 4, 32, 96
CONFIG = GPTConfig(d_model=64, d_ff=128, n_heads=4, n_layers=3, max_seq_len=WIDTH, dropout=0.1)


def build() -> nn.Module:
    return GPT(CONFIG, vocab_size=VOCAB)


def loss(model: nn.Module, rows: int = ROWS) -> Tensor:
    assert isinstance(model, GPT)
    ids = torch.zeros(rows, WIDTH, dtype=torch.long)
    return linear_cross_entropy(model.hidden(ids).flatten(0, 1), model.lm_head.weight, ids.flatten(), LossConfig())[0]


@pytest.mark.long
def test_states_are_four_bytes_a_number() -> None:
    found = simulate(build, loss, MachineConfig(), OptimConfig(ema_decay=0.9))
    numbers = sum(one.numel() for one in build().parameters())
    assert found.parameters == numbers
    assert found.parameter_bytes == found.gradient_bytes == 4 * numbers
    assert 8 * numbers <= found.optimizer_bytes < 8 * numbers + 1000, "two moments, and a count for each tensor"
    assert 4 * numbers <= found.average_bytes < 4 * numbers + 1000
    assert 0 < found.layer_bytes * 3 == found.layers_bytes < found.parameter_bytes


@pytest.mark.long
def test_the_peak_is_that_of_a_real_step() -> None:
    with Live({}) as live:
        model = build().train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        for _ in range(2):
            optimizer.zero_grad()
            live.restart_peak()
            loss(model).backward()
            optimizer.step()
    found = simulate(build, loss, MachineConfig(), OptimConfig())
    assert abs(found.peak_bytes / live.peak - 1) < 0.01


@pytest.mark.long
def test_products_are_six_for_each_weight_and_position() -> None:
    found = simulate(build, loss, MachineConfig(), OptimConfig())
    matrices = sum(one.numel() for one in build().parameters() if one.ndim == 2) - WIDTH * CONFIG.d_model
    least = 6 * matrices * ROWS * WIDTH
    attention = 3 * 3.5 * 4 * ROWS * WIDTH * WIDTH * CONFIG.d_model
    assert least <= found.flops <= least + 1.1 * attention


@pytest.mark.long
def test_what_saves_memory_saves_it() -> None:
    plain = simulate(build, lambda model: loss(model, 64), MachineConfig(), OptimConfig())
    again = simulate(build, lambda model: loss(model, 64), MachineConfig(checkpoint_activations=True), OptimConfig())
    half = simulate(build, lambda model: loss(model, 64), MachineConfig(precision="bfloat16"), OptimConfig())
    assert again.peak_bytes < 0.6 * plain.peak_bytes
    assert again.flops > 1.2 * plain.flops
    assert half.peak_bytes < 0.9 * plain.peak_bytes
    more = simulate(build, loss, MachineConfig(), OptimConfig(), batches=2)
    assert more.peak_bytes > simulate(build, loss, MachineConfig(), OptimConfig()).peak_bytes


@pytest.mark.long
def test_where_no_step_can_be_simulated_its_states_are_known() -> None:
    optim = OptimConfig(ema_decay=0.9)
    whole = simulate(build, loss, MachineConfig(), optim)
    states = without_step(build(), optim, ValueError("a mask\nselects"))
    assert states.parameters == whole.parameters
    assert states.gradient_bytes == whole.gradient_bytes
    assert 0 <= whole.optimizer_bytes - states.optimizer_bytes < 1000, "a count for each tensor"
    assert 0 <= whole.average_bytes - states.average_bytes < 1000
    assert states.layers_bytes == whole.layers_bytes
    assert states.flops is None
    assert states.unknown.endswith("needs tensors with content: ValueError: a mask selects")
