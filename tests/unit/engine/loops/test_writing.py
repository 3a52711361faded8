"""Texts that join and leave at any step are those that ``generate`` writes alone; those that fail fail alone."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.decode.sampler import Sampler
from clearhead.engine.loops.continuation import Continuation
from clearhead.engine.loops.generation import generate
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.engine.loops.writing import Writing, Written
from clearhead.engine.rows import NativeModel
from clearhead.errors import ModelError
from tests.native import KERNELS, NATIVE, native
from tests.small import random_rows, small_gpt

pytestmark = NATIVE
EOS = 2


def samplers() -> list[Sampler]:
    configs = [
        SamplingConfig(temperature=0.0, repetition_penalty=1.3),
        SamplingConfig(temperature=3.0, seed=4),
        SamplingConfig(temperature=2.0, top_k=5, typical_p=0.9, frequency_penalty=0.3, seed=2**64 - 1),
        SamplingConfig(temperature=5.0, top_p=0.9, no_repeat_ngram=3),
    ]
    ends = ((), (3,), (), (3, 4))
    return [
        Sampler(config, EOS, forbidden=(0, 1)[: number % 3], min_length=number, ends=ends[number])
        for number, config in enumerate(configs)
    ]


def ended(writing: Writing) -> list[Written]:
    written = list[Written]()
    while len(writing):
        written += writing.step()
    return written


def alone(model: NativeModel, prompt: list[int], sampler: Sampler, limit: int, sample: int) -> Continuation:
    return generate(model, [prompt], sampler, limits=[limit], samples=[sample])[0]


@pytest.mark.unchecked
@pytest.mark.parametrize("kernels", KERNELS)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.sampled_from([1, 3, 128]), st.sampled_from([1, 2, 4]), st.data())
def test_texts_that_come_and_go_are_those_written_alone(
    kernels: str, reading: int, threads: int, data: st.DataObject
) -> None:
    model, draw = native(small_gpt(max_seq_len=8), kernels), data.draw(st.randoms(use_true_random=False))
    writing, kinds = Writing(model, threads, reading=reading), samplers()
    asked, written, left = dict[int, Any](), list[Written](), set[int]()
    for _ in range(30):
        for _ in range(draw.choice([0, 0, 1, 3])):
            (prompt,) = random_rows([draw.randrange(1, 14)], draw.randrange(99))
            each = prompt, draw.choice(kinds), draw.randrange(1, 40), draw.randrange(5)
            asked[writing.join(*each[:2], limit=each[2], sample=each[3])] = each
        if len(writing) and draw.random() < 0.2:
            gone = draw.choice(writing.tickets)
            writing.leave(gone)
            left.add(gone)
        written += writing.step()
    written += ended(writing)
    over = {each.ticket: each.over for each in written if each.over}
    assert {*over} | left == {*asked}
    for ticket, text in over.items():
        assert text == alone(model, *asked[ticket])
    for ticket in left - {*over}:
        begun = [each.piece for each in written if each.ticket == ticket]
        assert alone(model, *asked[ticket]).ids[: len(begun)] == begun


def test_a_long_prompt_holds_up_nobody() -> None:
    model, sampler = native(small_gpt(max_seq_len=64)), Sampler(SamplingConfig(), EOS, min_length=99)
    writing, (long, other) = Writing(model, reading=10), random_rows([43, 21], seed=3)
    short = writing.join([5], sampler, limit=20)
    writing.step()
    late, later = (writing.join(prompt, sampler, limit=3) for prompt in (long, other))
    steps = [[each.ticket for each in writing.step()] for _ in range(9)]

    assert steps == [[short]] * 4 + [[short, late]] * 2 + [[short, late, later], [short, later], [short, later]]
    assert writing.tickets == [short]


def test_each_step_tells_pieces_and_the_best_ones() -> None:
    gpt = small_gpt(max_seq_len=16)
    sampler = Sampler(SamplingConfig(temperature=0.0), EOS, min_length=4, forbidden=(5,))
    writing = Writing(native(gpt))
    writing.join([4, 6], sampler, limit=4, best=3)
    writing.join([7], sampler, limit=4)
    written = [each for each in ended(writing) if each.ticket == 1]
    with torch.inference_mode():
        logits = gpt(torch.tensor([[4, 6, *(each.piece for each in written)]]))[0]
    for each, row in zip(written, logits[1:].log_softmax(-1), strict=False):
        values, pieces = row.topk(3)
        assert [piece for piece, _ in each.best] == pieces.tolist()
        assert [number for _, number in each.best] == pytest.approx(values.tolist(), abs=1e-3)
        assert each.log_prob == pytest.approx(float(row[each.piece]), abs=1e-3)
    assert written[-1].over == Continuation([each.piece for each in written], [each.log_prob for each in written])


def test_one_that_fails_fails_alone() -> None:
    gpt = small_gpt(max_seq_len=16)
    gpt.embedding.tokens.weight.data[9] = float("nan")
    model, sampler = native(gpt), Sampler(SamplingConfig(temperature=0.0), EOS, forbidden=(9,), min_length=5)

    def stop(piece: int) -> bool:
        raise KeyError(piece)

    writing = Writing(model)
    good = writing.join([4, 5], sampler, limit=5)
    bad, raising = writing.join([9, 5], sampler, limit=5), writing.join([7], sampler, limit=5, stopped=stop)
    over = {each.ticket: each.over for each in ended(writing) if each.over}
    assert over[good] == alone(model, [4, 5], sampler, 5, 0)
    assert isinstance(over[bad], ModelError)
    assert str(over[bad]) == "position 2: the best logit is nan, so no piece can be chosen"
    assert isinstance(over[raising], KeyError)
    with pytest.raises(KeyError):
        generate(model, [[7]], sampler, limits=[5], samples=[0], stopped=[stop])
    with pytest.raises(ModelError, match=r"^row 1, position 2: the best logit is nan"):
        generate(model, [[4], [9, 5]], sampler, limits=[5, 5], samples=[0, 0])


def test_a_step_without_memory_ends_all_and_the_next_ones_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sampler = native(small_gpt()), Sampler(SamplingConfig(), EOS)
    writing = Writing(model)
    tickets = [writing.join([4], sampler, limit=5) for _ in range(3)]

    def no_memory(*_: Any) -> Any:
        raise ModelError("no memory for 3 rows")

    with monkeypatch.context() as patch:
        patch.setattr(writing._rows, "extend", no_memory)
        failed = {each.ticket: str(each.over) for each in writing.step()}
        assert failed == dict.fromkeys(tickets, "no memory for 3 rows")
    assert len(writing) == 0
    ticket = writing.join([4], sampler, limit=5, sample=3)
    assert ended(writing)[-1].over == alone(model, [4], sampler, 5, 3)
    assert ticket not in tickets


def test_what_cannot_join_is_one_line() -> None:
    writing, sampler = Writing(native(small_gpt())), Sampler(SamplingConfig(), EOS)
    with pytest.raises(ModelError, match=r"^piece 13: must be from 0 to 12$"):
        writing.join([4, 13], sampler, limit=5)
    with pytest.raises(ModelError, match=r"^piece 13: must be from 0 to 12$"):
        writing.join([4], Sampler(SamplingConfig(), 13), limit=5)
    for wrong in ({"limit": 0}, {"limit": 1, "best": 14}):
        with pytest.raises(ValueError, match=r"^1 pieces, limit = \d, best = \d+: must be"):
            writing.join([4], sampler, **wrong)
    assert (len(writing), writing.step()) == (0, [])
    writing.leave(1, 99)


def test_a_text_outgrows_its_room() -> None:
    model, sampler = native(small_gpt(max_seq_len=8)), Sampler(SamplingConfig(temperature=9.0), EOS, min_length=10**6)
    writing = Writing(model)
    writing.join([5], sampler, limit=700)
    (text,) = (each.over for each in ended(writing) if each.over)
    assert isinstance(text, Continuation)
    assert (len(text.ids), text.reason) == (700, "length")
    assert np.ptp(text.ids) > 5
