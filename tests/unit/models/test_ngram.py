"""N-grams: hand-computed examples, a slow oracle of dictionaries, sums of one, documents, files, real text."""

import itertools
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from clearhead.errors import DataError, ModelError
from clearhead.models.ngram import Ngram, NgramConfig, Smoothing

SMOOTHINGS = get_args(Smoothing)
VOCAB = 9
BEGIN = -7


def documents(seed: int, sizes: tuple[int, ...]) -> list[list[int]]:
    """Texts over ids 0 to VOCAB - 2, skewed and dependent on the token before; the last id never occurs."""
    rng = np.random.default_rng(seed)
    texts = []
    for size in sizes:
        text = [0]
        while len(text) < size:
            text.append(int(rng.geometric(0.4) + text[-1] - 1) % (VOCAB - 1))
        texts.append(text[:size])
    return texts


def stream(texts: list[list[int]]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    return np.array(list(itertools.chain(*texts)), np.uint16), starts


def trained(texts: list[list[int]], order: int, smoothing: Smoothing, vocab_size: int = VOCAB) -> Ngram:
    tokens, starts = stream(texts)
    return Ngram.train(tokens, NgramConfig(order, smoothing), vocab_size=vocab_size, starts=starts)


class Oracle:
    """Computes the textbook's recursion over dictionaries of counts, one token at a time."""

    def __init__(self, texts: list[list[int]], order: int, smoothing: Smoothing) -> None:
        self.smoothing, self.estimated = smoothing, 0
        raw: dict[int, Counter[tuple[int, ...]]] = defaultdict(Counter)
        preceding: dict[tuple[int, ...], set[int]] = defaultdict(set)
        for text in texts:
            for end, length in itertools.product(range(1, len(text) + 1), range(1, order + 1)):
                if length <= end:
                    ngram = tuple(text[end - length : end])
                    raw[length][ngram] += 1
                    preceding[ngram].add(text[end - length - 1] if length < end else BEGIN)
        self.counts: dict[int, dict[tuple[int, ...], int]] = dict(raw)
        if smoothing == "kneser_ney":
            for length in range(1, max(raw)):
                self.counts[length] = {ngram: len(preceding[ngram]) for ngram in raw[length]}
        self.discounts = {length: self.discount(list(counts.values())) for length, counts in self.counts.items()}

    def discount(self, counts: list[int]) -> tuple[float, float, float]:
        one, two, three, four = (counts.count(count) for count in (1, 2, 3, 4))
        if one and two and three and four:
            y = one / (one + 2 * two)
            estimated = 1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three
            if min(estimated) > 0:
                self.estimated += 1
                return estimated
        return 0.5, 1.0, 1.5

    def prob(self, context: tuple[int, ...], token: int) -> float:
        shorter = self.prob(context[1:], token) if context else 1 / VOCAB
        length = len(context) + 1
        seen = {ngram[-1]: n for ngram, n in self.counts.get(length, {}).items() if ngram[:-1] == context}
        if not seen:
            return shorter
        total, count = sum(seen.values()), seen.get(token, 0)
        if self.smoothing == "witten_bell":
            return (count + len(seen) * shorter) / (total + len(seen))
        discounts = self.discounts[length]
        gamma = sum(discounts[min(n, 3) - 1] for n in seen.values()) / total
        return (count - discounts[min(count, 3) - 1] if count else 0) / total + gamma * shorter


def test_torch_is_not_needed() -> None:
    code = "import sys, clearhead.models.ngram; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_witten_bell_by_hand() -> None:
    model = trained([[0, 1, 0, 2, 0, 1]], 2, "witten_bell", vocab_size=4)
    once = [(3 + 3 / 4) / 9, (2 + 3 / 4) / 9, (1 + 3 / 4) / 9, 3 / 4 / 9]  # 6 tokens, 3 different
    np.testing.assert_allclose(model.next_probs([]), once, rtol=1e-12)
    after_0 = [2 * once[0] / 5, (2 + 2 * once[1]) / 5, (1 + 2 * once[2]) / 5, 2 * once[3] / 5]  # 0 1 twice, 0 2 once
    np.testing.assert_allclose(model.next_probs([0]), after_0, rtol=1e-12)
    np.testing.assert_allclose(model.next_probs([3]), once, rtol=1e-12)
    assert model.size == 3 + 4


def test_kneser_ney_by_hand() -> None:
    model = trained([[0, 1, 0, 2, 0, 1]], 2, "kneser_ney", vocab_size=4)
    # 0 follows 1, 2 and the begin; 1 and 2 follow 0 only. Too little to estimate discounts: 0.5, 1, 1.5.
    gamma = (1.5 + 0.5 + 0.5) / 5
    once = [1.5 / 5 + gamma / 4, 0.5 / 5 + gamma / 4, 0.5 / 5 + gamma / 4, gamma / 4]
    np.testing.assert_allclose(model.next_probs([]), once, rtol=1e-12)
    gamma = (1 + 0.5) / 3  # 0 1 twice, 0 2 once
    after_0 = [gamma * once[0], 1 / 3 + gamma * once[1], 0.5 / 3 + gamma * once[2], gamma * once[3]]
    np.testing.assert_allclose(model.next_probs([0]), after_0, rtol=1e-12)


def test_modified_discounts_by_hand() -> None:
    counts = [1, 1, 1, 1, 2, 2, 3, 4]  # Y = 4 / (4 + 2 * 2) = 0.5
    model = trained([list(np.repeat(np.arange(8), counts))], 1, "kneser_ney", vocab_size=10)
    one, two, more = 1 - 2 * 0.5 * 2 / 4, 2 - 3 * 0.5 * 1 / 2, 3 - 4 * 0.5 * 1 / 1
    gamma = (4 * one + 2 * two + 2 * more) / 15
    kept = [1 - one] * 4 + [2 - two] * 2 + [3 - more, 4 - more, 0, 0]
    np.testing.assert_allclose(model.next_probs([]), np.array(kept) / 15 + gamma / 10, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_equals_dictionaries(smoothing: Smoothing, order: int) -> None:
    texts, held_out = documents(1, (400, 3, 1, 160)), documents(2, (2, 60))
    oracle, model = Oracle(texts, order, smoothing), trained(texts, order, smoothing)
    assert order == 1 or smoothing == "witten_bell" or oracle.estimated, "fallback discounts everywhere"
    for scored in (texts[1:], held_out, [[VOCAB - 1, 3, VOCAB - 1, VOCAB - 1]]):
        wanted = [
            oracle.prob(tuple(text[max(0, place - order + 1) : place]), text[place])
            for text in scored
            for place in range(len(text))
        ]
        np.testing.assert_allclose(model.log_probs(*stream(scored)), np.log(wanted), rtol=1e-10)
    assert model.size == sum(map(len, oracle.counts.values()))


@pytest.mark.long_but(every=6)
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_probabilities_sum_to_one(smoothing: Smoothing, order: int, seed: int) -> None:
    texts = documents(seed, (200, 50))
    model = trained(texts, order, smoothing)
    unseen = [VOCAB - 1]
    for context in [[], unseen, [*unseen, 2], texts[0][-4:], [2, *unseen], *(texts[1][:n] for n in range(1, 30))]:
        probs = model.next_probs(context)
        assert probs.sum() == pytest.approx(1, abs=1e-12)
        assert probs.min() > 0
        ends = [model.log_probs(np.array([*context, token]))[-1] for token in range(VOCAB)]
        np.testing.assert_allclose(np.log(probs), ends, rtol=1e-12)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_documents_do_not_see_each_other(smoothing: Smoothing) -> None:
    texts = documents(3, (30, 1, 2, 40))
    model = trained(texts, 4, smoothing)
    swapped = trained([texts[index] for index in (2, 0, 3, 1)], 4, smoothing)
    alone = np.concatenate([model.log_probs(np.array(text)) for text in texts])
    np.testing.assert_array_equal(model.log_probs(*stream(texts)), alone)
    np.testing.assert_array_equal(swapped.log_probs(*stream(texts)), alone)
    tokens, starts = stream(texts)
    np.testing.assert_array_equal(model.log_probs(tokens, starts[1:]), alone)  # the first start is implied
    joined = Ngram.train(tokens, model.config, vocab_size=VOCAB)
    assert joined.size > model.size


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_documents_shorter_than_the_order(smoothing: Smoothing) -> None:
    texts = [[1, 2], [1], [2, 1]]
    wanted, model = trained(texts, 2, smoothing), trained(texts, 5, smoothing)
    np.testing.assert_array_equal(model.next_probs([1, 2, 1, 2, 1]), wanted.next_probs([1]))
    assert model.size == wanted.size == 2 + 2


def test_names_do_not_matter_in_a_large_vocabulary() -> None:
    size = 2**31 - 1
    low, high = np.array([2, 0, 1, 2, 1] * 9), np.array([size - 1, 0, size - 2, size - 1, size - 2] * 9, np.uint32)
    log_probs = [Ngram.train(ids, NgramConfig(6), vocab_size=size).log_probs(ids) for ids in (low, high)]
    np.testing.assert_allclose(log_probs[1], log_probs[0], rtol=1e-12)


@pytest.mark.parametrize("smoothing", SMOOTHINGS)
def test_a_file_comes_back(smoothing: Smoothing, tmp_path: Path) -> None:
    texts = documents(4, (60, 20))
    model, path = trained(texts, 3, smoothing), tmp_path / "model.npz"
    model.save(path)
    again = Ngram.load(path)
    assert (again.config, again.vocab_size, again.size) == (model.config, VOCAB, model.size)
    np.testing.assert_array_equal(again.log_probs(*stream(texts)), model.log_probs(*stream(texts)))
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


@pytest.mark.long
def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(ModelError, match="missing or damaged"):
        Ngram.load(path)
    model = trained(documents(5, (12,)), 2, "kneser_ney")
    model.save(path)
    whole, wanted = path.read_bytes(), model.next_probs([0])
    damaged = [b"", b"text", whole[:-1], whole[: len(whole) // 2]]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    refused: list[str] = []
    for content in damaged:
        path.write_bytes(content)
        try:
            np.testing.assert_array_equal(
                Ngram.load(path).next_probs([0]), wanted
            )  # the byte is, say, part of the archive's date
        except ModelError as error:
            refused.append(str(error))
    assert len(refused) > len(damaged) / 2
    assert "\n" not in "".join(refused)
    np.save(tmp_path / "array.npy", np.arange(3))
    np.savez(tmp_path / "later.npz", format=2)
    for name, reason in (("array.npy", "damaged"), ("later.npz", "format")):
        with pytest.raises(ModelError, match=f"{name}.*{reason}"):
            Ngram.load(tmp_path / name)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        trained([[1, 2]], 2, "kneser_ney").save(tmp_path / "taken")
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_wrong_arguments() -> None:
    config, tokens = NgramConfig(2), np.array([0, 1, 2])
    model = Ngram.train(tokens, config, vocab_size=3)
    with pytest.raises(DataError, match="no tokens"):
        Ngram.train(tokens[:0], config, vocab_size=3)
    with pytest.raises(ValueError, match="tokens = 0 to 2: must be at least 0 and below 2"):
        Ngram.train(tokens, config, vocab_size=2)
    with pytest.raises(ValueError, match="starts = 0 to 3: must be at least 0 and below 3"):
        Ngram.train(tokens, config, vocab_size=3, starts=np.array([0, 3]))
    with pytest.raises(ValueError, match="tokens = -1 to 1"):
        model.next_probs([-1, 1])
    with pytest.raises(ValueError, match="tokens = 3 to 3"):
        model.log_probs(np.array([3]))
    assert model.log_probs(tokens[:0]).shape == (0,)


@pytest.mark.long
def test_tiny_shakespeare(shared_data: Path) -> None:
    text = (shared_data / "tiny-shakespeare" / "input.txt").read_text(encoding="utf-8")
    names, ids = np.unique(np.array(list(text)), return_inverse=True)
    train, valid = ids[:-111_540], ids[-111_540:]

    def nats(smoothing: Smoothing) -> float:
        model = Ngram.train(train, NgramConfig(5, smoothing), vocab_size=len(names))
        return -float(model.log_probs(valid).mean())

    assert len(names) == 65
    assert nats("witten_bell") == pytest.approx(1.669, abs=0.001)
    assert nats("kneser_ney") == pytest.approx(1.561, abs=0.001)
