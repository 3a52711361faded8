"""Words are counted by how often the training text has them, each as often as its reference has it."""

import pytest
import sacrebleu

from clearhead.evaluate.word_frequency import frequency_scores, splitter

COUNTS = {"the": 5000, "cat": 9, "dog": 10, ".": 999}


def test_words_are_sacrebleus() -> None:
    line = "A cat, isn't it?  Yes."
    assert splitter("13a")(line) == sacrebleu.BLEU(tokenize="13a").tokenizer(line).split()
    assert splitter("none")(" a  b,") == ["a", "b,"]
    assert splitter("zh")("我吃苹果。") == [*"我吃苹果。"]


def test_f1_by_group() -> None:
    translations = ["the the cat .", "a dog ."]
    references = ["the cat cat .", "a dog barks"]
    found = frequency_scores(translations, references, COUNTS, "13a")
    assert found == {
        "word F1, trained never": pytest.approx(200 * 1 / 3),  # "a" twice, "barks" once
        "word F1, trained 1 to 9 times": pytest.approx(200 * 1 / 3),
        "word F1, trained 10 to 99 times": pytest.approx(100),
        "word F1, trained 100 to 999 times": pytest.approx(200 * 1 / 3),
        "word F1, trained 1,000 times or more": pytest.approx(200 * 1 / 3),
    }
    assert set(frequency_scores(references, references, COUNTS, "13a").values()) == {100.0}


def test_what_nobody_knows_has_no_score() -> None:
    assert set(frequency_scores(["a"], ["a"], None, "13a").values()) == {None}
    only = frequency_scores(["the"], ["the"], COUNTS, "13a")
    assert [name for name, score in only.items() if score is not None] == ["word F1, trained 1,000 times or more"]
