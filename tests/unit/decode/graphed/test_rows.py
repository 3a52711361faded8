"""Recorded steps: the logits of the plain way through growth, windows that slide, rows that leave or are taken back.

Without a GPU the step of fixed shapes is computed and not recorded; with one, the graph is played as well.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from clearhead.decode.generation import generate
from clearhead.decode.graphed.rows import FixedStep, GraphedRows, covers, room_of, start_texts
from clearhead.decode.rows import RNNRowsDecoding, RowsDecoding
from clearhead.decode.sampler import Sampler
from clearhead.decode.sampling import SamplingConfig
from clearhead.models.gpt import GPT
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import RotaryScalingConfig
from tests.small import VOCAB, assert_near, small_gpt, small_rnn

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10, 11]]
MODELS: dict[str, dict[str, Any]] = {
    "learned": {},
    "rotary": {"position": "rotary", "n_kv_heads": 2},
    "llama": {"position": "rotary", "block": BlockConfig(norm="rms", attention="qk_norm", activation="swiglu")},
    "additive": {"position": "sinusoidal", "block": BlockConfig(attention="additive", norm="group")},
}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def both(model: GPT, prompts: list[list[int]] = PROMPTS) -> tuple[RowsDecoding, GraphedRows]:
    return RowsDecoding(model, prompts), GraphedRows(RowsDecoding(model, prompts), patience=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", MODELS)
def test_pieces_give_the_logits_of_the_plain_way(name: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearhead.decode.graphed.rows.AHEAD", 8)
    model = small_gpt(max_seq_len=96, **MODELS[name]).to(device)
    plain, ours = both(model)
    steps: list[FixedStep | None] = []
    for number in range(80):  # the first room is for 71 columns
        pieces = torch.arange(number, number + 3, device=device) % VOCAB
        assert_near(ours.advance(pieces), plain.advance(pieces))
        steps += [ours._step] if ours._step not in steps else []
        assert torch.equal(ours.rows.ids, plain.ids)
        assert (ours.room, ours.rows.lengths) == (plain.room, plain.lengths)
    assert len(steps) == 2
    assert None not in steps


@pytest.mark.parametrize("device", DEVICES)
def test_a_window_slides_and_rows_leave_come_twice_and_go_back(device: str) -> None:
    model = small_gpt(max_seq_len=24).to(device)
    plain, ours = both(model)
    draw = torch.Generator().manual_seed(0)

    def pieces(rows: int, count: int) -> torch.Tensor:
        return torch.randint(VOCAB, (rows, count), generator=draw).to(device)

    for number in range(60):
        rows, count = len(plain.lengths), 3 if number % 11 == 5 else 1
        new = pieces(rows, min(count, plain.room))
        assert_near(ours.extend(new), plain.extend(new))
        if number % 7 == 3 and plain.room > 2:
            for each in (plain, ours):
                each.back(1)
        if number == 12:
            for each in (plain, ours):
                each.keep(torch.tensor([2, 0, 0, 1], device=device))
        if number == 20:
            for each in (plain, ours):
                each.keep(torch.tensor([1, 3], device=device))
        if number % 13 == 6 and len(set(plain.lengths)) == 1:
            for each in (plain, ours):
                each.reorder(torch.tensor([1, 0], device=device))
        assert torch.equal(ours.rows.ids, plain.ids)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sampling", [SamplingConfig(temperature=0.0), SamplingConfig(top_k=5, repetition_penalty=1.3)])
def test_generated_texts_are_the_same(sampling: SamplingConfig, device: str) -> None:
    model = small_gpt(max_seq_len=32).to(device)
    sampler = Sampler(sampling, eos_id=0, min_length=9)
    plain, ours = (
        generate(begin, PROMPTS, sampler, limits=[40, 12, 50], samples=[0, 1, 2])
        for begin in (lambda prompts: RowsDecoding(model, prompts), lambda prompts: both(model, prompts)[1])
    )
    assert [text.ids for text in ours] == [text.ids for text in plain]
    assert max(len(text.ids) for text in ours) > 8


def test_columns_that_hold_nothing_have_no_part_whatever_they_are() -> None:
    model = small_gpt(max_seq_len=64)
    plain, rows = RowsDecoding(model, PROMPTS), RowsDecoding(model, PROMPTS)
    rows.cache.buffer[:, :, :, :, rows.cache.length :] = float("nan")
    pieces = torch.tensor([1, 2, 3])
    assert_near(GraphedRows(rows, patience=0).advance(pieces), plain.advance(pieces))


def test_a_step_is_recorded_once_texts_go_on_together_and_for_long() -> None:
    rows = GraphedRows(RowsDecoding(small_gpt(max_seq_len=64), PROMPTS))
    recorded = []
    for number in range(12):
        rows.advance(torch.tensor([1, 2, 3][: len(rows.rows.lengths)]))
        recorded.append(rows._step is not None)
        if number == 6:
            rows.keep(torch.tensor([0, 2]))
    assert recorded == [False] * 4 + [True] * 3 + [False] * 4 + [True]
    assert rows.rows.cache.buffer.shape[4] >= 64  # room to the end of the context


def test_the_step_holds_until_the_buffer_is_another_or_full() -> None:
    model = small_gpt(max_seq_len=64)
    rows = RowsDecoding(model, PROMPTS)
    step = FixedStep(model, rows.cache, rows.lengths)
    assert step.holds(rows.cache)
    assert step.place.room == room_of(model, rows.cache) == 64
    before = rows.cache.length
    step(torch.tensor([1, 2, 3]))
    assert (rows.cache.length, rows.cache.fixed) == (before, None)  # the caller counts
    rows.cache.length = 64
    assert not step.holds(rows.cache)
    rows.cache.length = before
    rows.cache.reorder(torch.tensor([0, 1, 2]))
    assert not step.holds(rows.cache)


def test_what_asks_for_lengths_or_is_watched_is_not_covered() -> None:
    assert covers(small_gpt())
    assert not covers(small_gpt(position="alibi"))
    assert not covers(small_gpt(block=BlockConfig(norm="batch")))
    dynamic = RotaryScalingConfig(kind="dynamic", factor=2.0, original_max_seq_len=8)
    assert not covers(small_gpt(position="rotary", rotary_scaling=dynamic))
    watched = small_gpt()
    watched.layers[0].attn.core.tap.register_forward_hook(lambda *args: None)
    assert not covers(watched)


def test_texts_start_by_what_the_model_and_the_device_allow() -> None:
    assert isinstance(start_texts(small_gpt(), PROMPTS), RowsDecoding)
    assert isinstance(start_texts(small_rnn(), PROMPTS), RNNRowsDecoding)
    if torch.cuda.is_available():
        assert isinstance(start_texts(small_gpt().to("cuda"), PROMPTS), GraphedRows)
        assert isinstance(start_texts(small_gpt(position="alibi").to("cuda"), PROMPTS), RowsDecoding)
