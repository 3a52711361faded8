"""A text in the wrong script is known by most of its letters."""

import pytest

from clearhead.text.script import other_script


@pytest.mark.parametrize(
    ("text", "language", "script"),
    [
        ("He eats an apple.", "zh", "LATIN"),
        ("我吃了一个苹果。", "zh", ""),
        ("我吃了一个苹果。", "en", "CJK"),
        ("我用 iPhone 拍照片给你们看", "zh", ""),
        ("そうです、行きます", "ja", ""),
        ("カタカナ", "ja", ""),
        ("привет", "en", "CYRILLIC"),
        ("привет", "sr", ""),
        ("안녕하세요", "ko", ""),
        ("OK", "zh", ""),
        ("12345 :-)", "zh", ""),
        ("", "zh", ""),
        ("hello", "no code", ""),
    ],
)
def test_scripts(text: str, language: str, script: str) -> None:
    assert other_script(text, language) == script
