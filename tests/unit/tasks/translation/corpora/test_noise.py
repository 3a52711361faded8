"""Noise leaves out, replaces and moves words as often and as far as it is asked to, from numbers of the text alone."""

import pytest

from clearhead.tasks.translation.corpora.noise import NoiseConfig, disturb

WORDS = [f"w{number}" for number in range(60)]


def test_words_are_left_out_replaced_and_moved() -> None:
    config, left, filled, moved = NoiseConfig(), 0, 0, set[int]()
    for number in range(400):
        words = disturb(" ".join(WORDS), config, number).split(" ")
        left += 60 - len(words)
        filled += words.count("_")
    assert left / (400 * 60) == pytest.approx(0.1, abs=0.01)
    assert filled / (400 * 60 - left) == pytest.approx(0.1, abs=0.01)
    only_moved = NoiseConfig(delete=0.0, replace=0.0, swap=3)
    for number in range(200):
        words = disturb(" ".join(WORDS), only_moved, number).split(" ")
        assert sorted(words) == sorted(WORDS)
        moved |= {abs(place - int(word[1:])) for place, word in enumerate(words)}
    assert moved == {0, 1, 2, 3}


@pytest.mark.parametrize(("number", "seed"), [(0, 0), (2**40, 2**64 - 1), (7, 1)])
@pytest.mark.parametrize("text", ["", "   ", "a", "a b  c\td", "我 喝\u3000水。", "\U0001f600 x", " ".join(WORDS)])
def test_a_text_follows_from_its_number(text: str, number: int, seed: int) -> None:
    config = NoiseConfig(seed=seed)
    once = disturb(text, config, number)
    assert once == disturb(text, config, number)
    assert set(once.split()) <= {*text.split(), "_"}
    assert bool(once.split()) == bool(text.split())
    assert disturb(text, NoiseConfig(delete=0.0, replace=0.0, swap=0), number) == (" ".join(text.split()) or text)


def test_where_no_space_stands_between_words_characters_are_words() -> None:
    text = "我今天早上吃了一个苹果。"
    noisy = {disturb(text, NoiseConfig(seed=seed), 3, "") for seed in range(20)}
    assert len(noisy) == 20
    assert all(set(one) <= {*text, "_"} and " " not in one for one in noisy)
    assert disturb("a b", NoiseConfig(delete=1.0, replace=0.0), 1) == "a"
    assert disturb("a b", NoiseConfig(delete=0.0, replace=1.0, filler="<BLANK>"), 1) == "<BLANK> <BLANK>"
