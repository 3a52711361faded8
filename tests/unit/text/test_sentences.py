"""Sentences are cut where they end, and no character is lost."""

import time
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clearhead.text.sentences import split_sentences


@pytest.mark.parametrize(
    "parts",
    [
        ["你好。", "我很好！", "你呢？"],
        ["他说：“走吧。”", "然后走了。"],
        ["你好吗?", "我很好.", "再见"],
        ["It is 3.14. ", "Is it? ", "Yes!"],
        ["Use tools, e.g. this one, etc. and go. ", "Then stop."],
        ["Dr. Wang met J. Smith. ", "They talked."],
        ['"Go!" he said. ', '"Why?" ', "Because."],
        ["我……不知道。", "真的！！", "走"],
        ["one\n", "two\n\n", "three"],
        # tokenized: a quote mark or bracket apart
        ['He said : " I go . " ', "Then he left . ", '" Why ? " ', "Nobody knew ."],
        ['He said : " I go . You stay . " ', "Then he left ."],
        ['He said : I go . "'],
        ["The novel Oil ! . ", "Then it rained ."],
        ['" I go . " he said . ', "( So he did . ) It rained . )"],
        ["她说 ： “ 走 吧 。 ” ", "然后 走 了 。"],
        ["no end"],
        ["  "],
        [],
    ],
)
def test_ends(parts: list[str]) -> None:
    assert split_sentences("".join(parts)) == parts


@pytest.mark.parametrize(
    ("language", "parts"),
    [
        ("zh", ["我吃了一个苹果。", "他喝水。", "她吃了两个苹果！"]),
        ("ja", ["そうです｡ ", "はい｡"]),
        ("ur", ["یہ ایک جملہ ہے۔ ", "یہ دوسرا ہے؟ ", "ہاں"]),
        ("ar", ["هل هذا؟ ", "نعم. ", "شكرا"]),
        ("hi", ["यह है। ", "वह है॥ ", "ठीक"]),
        ("my", ["ဒါဟာ။ ", "ဟုတ်တယ်။"]),
        ("am", ["ይህ ነው። ", "ያ ነው፧ ", "እሺ"]),
        ("hy", ["Սա է։ ", "Նա է՞ ", "այո"]),
        ("km", ["នេះ។ ", "នោះ។ ", "ផ្សេង៕"]),
        ("bo", ["བོད་། ", "ཡིན། "]),
        ("fr", ["M. Dupont est là. ", "Il mange."]),
        ("de", ["Das ist z. B. gut. ", "Ja."]),
        ("en", ["He climbed Mt. Fuji. ", "He's Mr. Right. ", "Yes! … ", "No."]),
        ("none", ["Foo bar. ", "是。", "Baz؟ ", "qux"]),
    ],
)
def test_ends_of_every_script(language: str, parts: list[str]) -> None:
    assert split_sentences("".join(parts), language) == parts


@example('?" "\n1')  # a line break after a quote mark that stands apart
@given(st.text(alphabet=st.sampled_from("a我A1 .!?。！？…”\"')\n")) | st.text())
def test_nothing_is_lost(text: str) -> None:
    parts = split_sentences(text)
    assert "".join(parts) == text
    assert all(parts)


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize(
    "text",
    [
        'A. " ' * 20_000,
        ". ) " * 8_000,
        "." * 100_000 + "a",
        "。" * 100_000,
        " " * 100_000 + "a",
        ". " * 40_000,
        '."' * 40_000,
        "“我。" * 15_000,
        "“a b. " * 8_000,
        "“(" * 15_000,
    ],
)
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    assert "".join(split_sentences(text)) == text
    assert time.process_time() - start < 5


def test_real_text_is_cut_and_kept(shared_data: Path) -> None:
    lines = (shared_data / "tatoeba-zh-en" / "train.zh").read_text(encoding="utf-8").splitlines()[:500]
    text = "".join(lines)
    parts = split_sentences(text)
    assert "".join(parts) == text
    assert len(parts) >= 480
