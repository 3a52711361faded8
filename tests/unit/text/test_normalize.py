"""Normalization does what it states, and its inverse never changes what the tokenizer would see."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.errors import DataError, UsageError
from clearhead.text.normalize import changed, denormalize, normalize, unchanged

WIDE = "我有３个，「苹果」、Ａ。（对！）"
HALF = '我有3个,"苹果",A.(对!)'


def test_modes() -> None:
    assert normalize(WIDE, "none") == WIDE
    assert normalize(WIDE, "halfwidth") == HALF
    assert normalize("e\u0301ﬁ", "nfc") == "éﬁ"
    assert normalize("e\u0301ﬁ", "nfkc") == "éfi"
    assert normalize("《一》…——", "halfwidth") == "《一》…——"


def test_unknown_mode_is_refused_with_the_nearest() -> None:
    wrong: Any = "nfck"
    with pytest.raises((UsageError, TypeError)):
        normalize("a", wrong)


@pytest.mark.parametrize(("text", "at"), [("\ud800", 0), ("我a\udfff", 2)])
def test_lone_surrogate_names_its_position(text: str, at: int) -> None:
    with pytest.raises(DataError, match=f"U\\+D[8F][0F][0F] at position {at}"):
        normalize(text, "none")


@pytest.mark.parametrize(
    ("half", "full"),
    [
        ("你好吗?我很好.", "你好吗？我很好。"),
        ('他说:"你好!",走了.', "他说：“你好！”，走了。"),
        ("我(小明)来了;他没来.", "我（小明）来了；他没来。"),
        ("打开文件.txt,好吗?!", "打开文件.txt，好吗？！"),
        ("等等...", "等等..."),
        ('He said: "Hello, (you)." It is 3.14.', 'He said: "Hello, (you)." It is 3.14.'),
        ("don't 'go'", "don't 'go'"),
    ],
)
def test_denormalize_restores_chinese_marks_and_leaves_latin(half: str, full: str) -> None:
    assert denormalize(half, "halfwidth") == full
    assert denormalize(half, "nfkc") == half


@given(st.text(alphabet=st.sampled_from("我你a1 ,.!?;:()\"'，。、“”（）「」Ａ\u3000")))
def test_denormalized_text_normalizes_back(text: str) -> None:
    seen = normalize(text, "halfwidth")
    assert normalize(denormalize(seen, "halfwidth"), "halfwidth") == seen


def test_real_chinese_comes_back(shared_data: Path) -> None:
    lines = (shared_data / "tatoeba-zh-en" / "train.zh").read_text(encoding="utf-8").splitlines()[:3000]
    back = [denormalize(normalize(line, "halfwidth"), "halfwidth") for line in lines]
    same = sum(a == b for a, b in zip(lines, back, strict=True))
    assert same >= 0.95 * len(lines)


def test_changes_are_counted() -> None:
    counts = changed(["好，好，", "a, b", "Ａ"], "halfwidth")
    assert counts == {"lines": 2, "， -> ,": 2, "Ａ -> A": 1}
    assert changed(["好，"], "none") == {}
    assert changed(["e\u0301"], "nfc") == {"lines": 1}


@given(st.text(alphabet="我们。，ab1 .,!?;:()\"'“”", max_size=12), st.text(alphabet="我们ab1 .,!?:()\"'’", max_size=8))
def test_what_is_unchanged_is_restored_alike_whatever_follows(text: str, more: str) -> None:
    settled = unchanged(text, "halfwidth")
    assert text.startswith(settled)
    assert denormalize(text + more, "halfwidth").startswith(denormalize(settled, "halfwidth"))


def test_what_waits_for_its_other_half() -> None:
    assert unchanged("你好.我说(", "halfwidth") == "你好.我说"
    assert unchanged("你好,", "halfwidth") == "你好"
    assert unchanged('say "a" b', "halfwidth") == "say "
    assert unchanged('say "a" b.', "none") == 'say "a" b.'
