"""Questions: the right answer is what is measured, wrong ones differ from it, words are there in both languages."""

import math
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
            assert "{" not in question.text(language) + question.why(language)


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


def by_hand(kind: str, values: dict[str, str]) -> float:
    """Returns what the formula of a question gives."""
    numbers = {name: float(value) for name, value in values.items() if name != "kind"}
    match kind:
        case "attention_parameters":
            return 2 * numbers["d_model"] ** 2 * (1 + numbers["kv_heads"] / numbers["heads"])
        case "causal_reach":
            return numbers["length"] - numbers["place"] + 1
        case "masked_weight":
            return 1 / (numbers["keys"] - numbers["masked"])
        case "detached_gradient":
            return numbers["times"] * numbers["at"]
        case "rate_at":
            share = numbers["step"] / numbers["warmup"]
            return numbers["peak"] * min(share, 1 / math.sqrt(share))
        case "perplexity_of":
            return math.sqrt(numbers["first"] * numbers["second"])
        case "norm_numbers":
            size = numbers["size"]
            return {"RMSNorm": size, "LayerNorm": 2 * size, "BatchNorm1d": 4 * size + 1}[values["kind"]]
        case "positions_computed":
            return sum(numbers["prompt"] + number for number in range(int(numbers["pieces"])))
    return numbers["prompt"] + numbers["pieces"] - 1  # positions_computed_cached


CALCULATED = (
    "attention_parameters causal_reach masked_weight detached_gradient rate_at perplexity_of norm_numbers".split()
)


@pytest.mark.parametrize("name", [*CALCULATED, "positions_computed"])
def test_measuring_gives_what_the_formula_gives(name: str) -> None:
    for seed in range(8):
        question = asked(name, seed)
        right = float(question.choices[question.right])
        assert right == pytest.approx(by_hand(question.kind, question.values), rel=5e-3)
        others = [float(each) for number, each in enumerate(question.choices) if number != question.right]
        assert all(abs(each - right) > 0.01 * right for each in others), "another answer is right, too"


def test_matrix_products_alone_are_bfloat16_under_autocast() -> None:
    questions = [asked("autocast_dtype", seed) for seed in range(12)]
    right = {question.choices[question.right] for question in questions}
    assert right == {"nn.Linear(4, 4)(x)", "x @ x", "torch.bmm(x[None], x[None])"}


def test_words_are_there_in_both_languages() -> None:
    assert list(words("en")) == list(words("zh"))
    assert list(words("en")["answers"]) == list(words("zh")["answers"])
    assert set(POOL) <= set(THEMES)


def test_what_was_wrong_comes_first() -> None:
    for seed in range(5):
        assert ask(None, random.Random(seed), ["which_hook"]).kind == "which_hook"
        assert ask(None, random.Random(seed), ["what_moves_step"]).kind.startswith("what_moves")
    kinds = {ask("training", random.Random(seed), []).kind for seed in range(40)}
    assert kinds == {"adam_bytes", "smoothed_floor", "padded_mean", "rate_at", "autocast_dtype"}


@pytest.mark.parametrize("name", MAKERS)
def test_every_kind_is_found_again_by_the_name_of_what_makes_it(name: str) -> None:
    assert all(asked(name, seed).kind.startswith(name) for seed in range(4))


def test_an_unknown_theme_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"^theme 'pytorsch': unknown; did you mean 'pytorch'\?"):
        ask("pytorsch", random.Random(0), [])
