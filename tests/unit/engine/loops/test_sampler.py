"""The native sampler draws the piece that ``decode.sampler`` draws, whatever is asked, also where pieces tie."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from clearhead.decode.sampler import Sampler, history_of
from clearhead.decode.sampling import choose
from clearhead.engine.library import WRITTEN
from clearhead.engine.loops.sampler import NativeSampler, ToldSettings, of_row, uniforms
from clearhead.engine.loops.sampling import SamplingConfig, uniform_of
from clearhead.errors import ModelError
from clearhead.text.characters import characters_of
from clearhead.text.phrase import Spellings
from tests.native import KERNELS, NATIVE

pytestmark = NATIVE
EOS = 2
SPELLINGS = [b"", b"", b"", b"", b"\xe6", b"\x88", b"\x91", b"no", b"n", b"o", b" ", b"\xe6\x88", b"b\xc3", b"\xa9"]
CHOICES: dict[str, list[Any]] = {
    "temperature": [0.0, 0.7, 1.0, 1.0, 3.0, 1e-3],
    "top_k": [0, 0, 1, 3, 1000],
    "top_p": [1.0, 1.0, 0.9, 0.5, 0.3, 0.0],
    "min_p": [0.0, 0.0, 0.1, 1.0],
    "typical_p": [1.0, 1.0, 0.9, 0.5, 0.2],
    "repetition_penalty": [1.0, 1.3, 0.7],
    "presence_penalty": [0.0, 0.5, -1.0],
    "frequency_penalty": [0.0, 0.3],
    "no_repeat_ngram": [0, 1, 2, 3],
    "bias": [(), (), ((3, -100.0), (5, 2.5)), ((1, 100.0), (4, -0.1), (4, -0.3), (6, 3.0))],
}


def samplers(vocab: int, count: int) -> Iterator[tuple[Sampler, random.Random]]:
    """Yields settings of every kind, each of them often off."""
    spellings = (SPELLINGS * 4)[:vocab]
    phrases, characters = Spellings(spellings).automaton([b"no", b"oo"]), characters_of(spellings)
    for number in range(count):
        chance = random.Random(number)
        config = SamplingConfig(seed=chance.getrandbits(64), **{k: chance.choice(v) for k, v in CHOICES.items()})
        rest: dict[str, Any] = {
            "forbidden": chance.choice([(), (0, 3)]),
            "min_length": chance.choice([0, 0, 3]),
            "ends": chance.choice([(), (1, 4)]),
            "avoided": chance.choice([None, phrases]),
            "characters": chance.choice([None, characters]),
            "limit": chance.choice([8, 30]),
        }
        yield Sampler(config, EOS, **rest), chance


def logits_of(vocab: int, chance: random.Random) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Draws a row of logits: of any size, with ties, all alike, or with many that are impossible."""
    draw = np.random.default_rng(chance.getrandbits(32))
    logits = (draw.standard_normal((1, vocab)) * chance.choice([0.5, 2.0, 8.0])).astype(np.float32)
    match chance.choice(["any", "ties", "alike", "impossible"]):
        case "ties":
            return np.round(logits)
        case "alike":
            return np.zeros_like(logits) - np.float32(3.5)
        case "impossible":
            return np.where(draw.random(logits.shape) < 0.4, np.float32("-inf"), logits)
    return logits


def native(
    sampler: Sampler,
    logits: np.ndarray[Any, Any],
    texts: list[list[int]],
    prompts: list[int],
    numbers: list[float],
    **where: Any,
) -> list[list[float]] | str:
    """Returns pieces and log-probabilities, or what the first fault is."""
    try:
        told = ToldSettings(sampler, logits.shape[1])
    except ModelError as error:
        return str(error)
    histories = [np.array([*text, 0], dtype=np.int32) for text in texts]
    asked = zip(histories, numbers, map(len, texts), prompts, strict=True)
    table = np.array([(told.address, ids.ctypes.data, *rest) for ids, *rest in asked], dtype=WRITTEN)
    pieces, log_probs, faults = NativeSampler(logits.shape[1], **where).draw(logits, table)
    for row, fault in faults.items():
        return of_row(row, fault)
    return [pieces.tolist(), log_probs.tolist()]


@pytest.mark.unchecked
@pytest.mark.parametrize("vocab", [7, 50])
def test_the_same_number_draws_the_same_piece(vocab: int) -> None:
    drawn = 0
    for sampler, chance in samplers(vocab, 120):
        logits, pieces = logits_of(vocab, chance), [piece for piece in range(vocab) if piece not in sampler.marks]
        prompt, text = (chance.choices(pieces, k=chance.randrange(7)) for _ in range(2))
        number, tensor = uniform_of(sampler.config.seed, 3, len(text)), torch.from_numpy(logits)
        expected: Any
        try:
            adjusted = sampler.adjusted(tensor, history_of([prompt + text], [len(prompt)], device="cpu"))
            piece = choose(adjusted, sampler.config, torch.tensor([number], dtype=torch.float64))
            expected = [piece.tolist(), [pytest.approx(float(tensor.log_softmax(-1)[0, piece]), abs=1e-5)]]
            drawn += 1
        except ModelError as error:
            expected = str(error)
        assert native(sampler, logits, [prompt + text], [len(prompt)], [number]) == expected, sampler
    assert drawn > 60


@pytest.mark.parametrize("kernels", KERNELS)
def test_rows_depend_on_themselves_alone(kernels: str) -> None:
    chance = np.random.default_rng(0)
    logits = chance.standard_normal((6, 40)).astype(np.float32)[:, :37]  # with columns that are not of the vocabulary
    config = SamplingConfig(top_k=20, top_p=0.9, repetition_penalty=1.2, frequency_penalty=0.1)
    sampler, texts = Sampler(config, EOS), [[5, 6, 7, 5], [], [9], [30, 31], [4] * 9, [8, 8]]
    numbers = chance.random(6).tolist()
    together: Any = native(sampler, logits, texts, [0] * 6, numbers, kernels=kernels)
    for row in range(6):
        alone: Any = native(
            sampler, logits[row : row + 1], texts[row : row + 1], [0], numbers[row : row + 1], kernels=kernels
        )
        assert [each[0] for each in alone] == [each[row] for each in together]
    assert len(set(together[0])) > 3


def test_numbers_are_those_of_numpy_bit_for_bit() -> None:
    chance = np.random.default_rng(0)
    seeds = [0, 1, 2**32, 2**64 - 1, *chance.integers(0, 2**63, 20).tolist()]
    samples, places = chance.integers(0, 10**6, 8).tolist(), [0, 1, 2**31, 2**40, *range(4)]
    asked = [(seed, sample, place) for seed in seeds for sample, place in zip(samples, places, strict=True)]
    columns = [np.array(each, dtype=np.uint64) for each in zip(*asked, strict=True)]
    for stream in (0, 1, 2):
        expected = [uniform_of(*each, stream=stream) for each in asked]
        assert (
            uniforms(columns[0], *(each.astype(np.int64) for each in columns[1:]), stream=stream).tolist() == expected
        )


@pytest.mark.parametrize(("wrong", "word"), [("nan", "nan"), ("inf", "inf")])
def test_logits_that_are_no_numbers_are_named(wrong: str, word: str) -> None:
    logits = np.zeros((2, 7), dtype=np.float32)
    logits[1, 3] = float(wrong)
    found = native(Sampler(SamplingConfig(), EOS), logits, [[4], [4, 5]], [1, 1], [0.5, 0.5])
    assert found == f"row 1, position 2: the best logit is {word}, so no piece can be chosen"
    left_out = native(Sampler(SamplingConfig(), EOS, forbidden=(3,)), logits, [[4], [4, 5]], [1, 1], [0.5, 0.5])
    assert isinstance(left_out, list)
    assert 3 not in left_out[0]


def test_rows_without_a_number_leave_the_others_theirs() -> None:
    logits = np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
    told, ids = ToldSettings(Sampler(SamplingConfig(), EOS), 7), np.array([4, 5, 9], dtype=np.int32)
    table = np.array([(told.address, ids.ctypes.data, 0.3, length, 1) for length in (2, 2, 3, 2)], dtype=WRITTEN)
    alone = NativeSampler(7).draw(logits[3:], table[3:])
    logits[0, 2] = float("nan")
    pieces, log_probs, faults = NativeSampler(7).draw(logits, table)
    assert faults == {
        0: "position 2: the best logit is nan, so no piece can be chosen",
        2: "piece 9: must be from 0 to 6",
    }
    assert pieces.tolist()[::2] == [-1, -1]
    assert (pieces[3], log_probs[3]) == (alone[0][0], alone[1][0])


def test_the_best_pieces_and_their_probabilities() -> None:
    logits = np.array([1.0, 4.0, -np.inf, 4.0, 2.0], dtype=np.float32)
    best = NativeSampler(5).best(logits, 5)
    assert [piece for piece, _ in best] == [1, 3, 4, 0]
    assert [number for _, number in best] == pytest.approx(
        [float(torch.from_numpy(logits).log_softmax(-1)[piece]) for piece, _ in best], abs=1e-6
    )


def test_where_no_piece_is_left_the_row_is_named() -> None:
    logits = np.zeros((1, 4), dtype=np.float32)
    banned = Sampler(SamplingConfig(no_repeat_ngram=1), EOS, forbidden=(0, 1), min_length=1)
    assert native(banned, logits, [[3]], [1], [0.5]) == "row 0, position 1: every piece is banned or impossible"


def test_pieces_beyond_the_vocabulary_are_one_line() -> None:
    logits = np.zeros((1, 4), dtype=np.float32)
    plain = Sampler(SamplingConfig(), EOS)
    assert native(plain, logits, [[4]], [1], [0.5]) == "row 0: piece 4: must be from 0 to 3"
    assert native(Sampler(SamplingConfig(), 9), logits, [[1]], [1], [0.5]) == "piece 9: must be from 0 to 3"
    with pytest.raises(ValueError, match=r"^a table of 14 pieces: must be of the model's 4$"):
        native(Sampler(SamplingConfig(), EOS, characters=characters_of(SPELLINGS)), logits, [[1]], [1], [0.5])
