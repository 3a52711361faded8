"""Questions: the right answer is what is measured, wrong ones differ from it, words are there in both languages."""

import random

import pytest

from clearhead.errors import UsageError
from clearhead.lessons.catalog import THEMES
from clearhead.lessons.quiz import POOL, Question, ask, words

MAKERS = {make.__name__: make for makers in POOL.values() for make in makers}


def asked(name: str, seed: int) -> Question:
    return MAKERS[name](random.Random(seed))


@pytest.mark.parametrize("name", MAKERS)
def test_questions_differ_and_have_one_right_answer(name: str) -> None:
    questions = [asked(name, seed) for seed in range(8)]
    assert len({(each.text("en"), each.choices[each.right]) for each in questions}) >= 2
    assert len({each.right for each in questions}) >= 2, "the right answer stands at any place"
    for question in questions:
        assert 3 <= len(question.choices) <= 4
        assert len(set(question.choices)) == len(question.choices)
        assert len(set(question.shown("zh"))) == len(question.choices)
        for language in ("en", "zh"):
            assert "{" not in question.text(language) + question.why(language)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_question() -> None:
    for name in MAKERS:
        assert asked(name, 3) == asked(name, 3)


def test_answers_are_those_of_the_formulas() -> None:
    for seed in range(6):
        question = asked("cache_bytes", seed)
        sizes = {name: int(value) for name, value in question.values.items()}
        expected = 2 * 4 * sizes["layers"] * sizes["kv_heads"] * sizes["d_model"] // sizes["heads"]
        assert question.choices[question.right] == str(expected)
        question = asked("adam_bytes", seed)
        weights = int(question.values["rows"]) * int(question.values["columns"]) * 4
        times = {"SGD": 0, "SGD(momentum=0.9)": 1, "AdamW": 2}[question.values["optimizer"]]
        assert question.choices[question.right] == str(times * weights)
        question = asked("padded_mean", seed)
        assert question.choices[question.right] == str(int(question.values["first"]) + int(question.values["second"]))
        question = asked("smoothed_floor", seed)
        smoothing, classes = float(question.values["smoothing"]), int(question.values["classes"])
        assert float(question.choices[question.right]) == pytest.approx(1 - smoothing + smoothing / classes, abs=2e-3)
        assert asked("lost_characters", seed).choices[asked("lost_characters", seed).right] == "byte_bpe"


def test_words_are_there_in_both_languages() -> None:
    assert list(words("en")) == list(words("zh"))
    assert list(words("en")["answers"]) == list(words("zh")["answers"])
    assert set(POOL) <= set(THEMES)


def test_what_was_wrong_comes_first() -> None:
    for seed in range(5):
        assert ask(None, random.Random(seed), ["which_hook"]).kind == "which_hook"
    kinds = {ask("training", random.Random(seed), []).kind for seed in range(20)}
    assert kinds == {"adam_bytes", "smoothed_floor", "padded_mean"}


def test_an_unknown_theme_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^theme 'pytorsch': unknown; did you mean 'pytorch'\?"):
        ask("pytorsch", random.Random(0), [])
