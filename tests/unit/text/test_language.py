"""What any code of a language says about its text."""

import logging
import subprocess
import sys

import pytest

from clearhead.text.language import other_script, own_script, read_language

HAN = ("zh", "", "")
SQUARE = ("char", "", "")
UNSPACED = ("char", "", " ")
SPACED = ("13a", " ", " ")


@pytest.mark.parametrize(
    ("codes", "code", "sentencex", "expected"),
    [
        ("zh chi zho cmn ZH __zh__ >>cmn<< zho_Hans zh-Hans cmn_Hans", "zh", "zh", HAN),
        ("zh-CN zh_CN zh_CN.UTF-8", "zh-CN", "zh", HAN),
        ("zho_Hant", "zh-Hant", "zh", HAN),
        ("yue zh-yue yue_Hant", "yue", "yue", HAN),
        ("lzh", "lzh", "lzh", HAN),
        ("zh-Latn", "zh-Latn", "zh", SPACED),
        ("ja jpn jpn_Jpan JA tok.ja", "ja", "ja", SQUARE),
        ("ja_XX", "ja-XX", "ja", SQUARE),
        ("ja-Latn", "ja-Latn", "ja", SPACED),
        ("th tha tha_Thai", "th", "th", UNSPACED),
        ("lo lao lao_Laoo", "lo", "lo", UNSPACED),
        ("km khm khm_Khmr", "km", "km", UNSPACED),
        ("my mya bur mya_Mymr", "my", "my", UNSPACED),
        ("bo bod tib", "bo", "bo", UNSPACED),
        ("dz dzo_Tibt", "dz", "dz", UNSPACED),
        ("shn shn_Mymr", "shn", "shn", UNSPACED),
        ("jav_Java", "jv-Java", "jv", UNSPACED),
        ("jv jav_Latn", "jv", "jv", SPACED),
        ("ko kor kor_Kore", "ko", "ko", SPACED),
        ("kor_Hang", "ko-Hang", "ko", SPACED),
        ("en eng eng_Latn lc.norm.tok.en", "en", "en", SPACED),
        ("de deu ger", "de", "de", SPACED),
        ("de_DE.UTF-8 de-de", "de-DE", "de", SPACED),
        ("vi vie_Latn", "vi", "vi", SPACED),
        ("ar arb arb_Arab", "ar", "ar", SPACED),
        ("hi hin_Deva", "hi", "hi", SPACED),
        ("iw heb", "he", "he", SPACED),
    ],
)
def test_all_spellings_of_a_code_say_the_same(
    codes: str, code: str, sentencex: str, expected: tuple[str, str, str], caplog: pytest.LogCaptureFixture
) -> None:
    read_language.cache_clear()
    for spelled in codes.split():
        language = read_language(spelled)
        assert (language.code, language.sentencex) == (code, sentencex), spelled
        assert (language.bleu_tokenize, language.joiner, language.sentence_joiner) == expected, spelled
        assert (language.known, language.note) == (True, ""), spelled
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("code", "meant", "tokenize"),
    [("cn", "zh", "zh"), ("CN", "zh", "zh"), ("jp", "ja", "char"), ("ua", "uk", "13a"), ("zh-classical", "zh", "zh")],
)
def test_what_is_no_code_says_what_it_is_read_as(
    code: str, meant: str, tokenize: str, caplog: pytest.LogCaptureFixture
) -> None:
    read_language.cache_clear()
    language = read_language(code)
    assert (language.code, language.bleu_tokenize, language.known) == (meant, tokenize, False)
    assert language.note.startswith(f"language {code!r}: is ")
    assert language.note.endswith(f"; read as {meant!r}")
    assert caplog.messages == [language.note]


@pytest.mark.parametrize(
    "code", ["xx", "x", "", "tgt", "src", "mul", "qaa", "klingonese", "a b", "zz-zz", "\u4e2d\u6587"]
)
def test_an_unknown_code_says_once_what_is_assumed(code: str, caplog: pytest.LogCaptureFixture) -> None:
    read_language.cache_clear()
    with caplog.at_level(logging.WARNING, "clearhead"):
        languages = {read_language(code) for _ in range(3)}
    (language,) = languages
    assert (language.code, language.sentencex, language.bleu_tokenize, language.joiner) == (code, "en", "13a", " ")
    assert not language.known
    assert "BLEU's tokenizer 13a" in language.note
    assert caplog.messages == [language.note]


def test_the_module_loads_no_langcodes() -> None:
    code = "import sys, clearhead.text.language; print('langcodes' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


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
def test_a_text_in_another_script_than_its_language(text: str, language: str, script: str) -> None:
    assert other_script(text, read_language(language)) == script


@pytest.mark.parametrize(
    ("text", "language", "share"),
    [
        ("我喝水 tea", "zh", 0.5),
        ("ひらがなと漢字", "ja", 1.0),
        ("123 ...", "en", 1.0),
        ("Straße", "de", 1.0),
        ("ＡＢ我", "zh", 1.0),  # letters in full width are of no script that is known here
        ("我", "xx", None),
    ],
)
def test_the_share_of_letters_in_a_language_s_own_script(text: str, language: str, share: float | None) -> None:
    assert own_script(text, read_language(language)) == share
