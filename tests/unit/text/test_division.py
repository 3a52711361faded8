"""A text in parts: nothing is lost, no part is too long, cuts fall at the best place, and layout stays."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.errors import DataError
from clearhead.text.division import Division, divide
from clearhead.text.language import read_language
from clearhead.text.overlong import OverlongSource, SplitSource


def encode(text: str) -> list[int]:
    return list(text.encode())


def parted(
    text: str,
    limit: int = 20,
    *,
    language: str = "en",
    split: SplitSource = "sentences",
    overlong: OverlongSource = "split",
) -> Division:
    return divide(text, encode, limit=limit, language=read_language(language), split=split, overlong=overlong)


def texts(division: Division) -> list[str]:
    return [bytes(part.ids).decode() for part in division.parts]


@pytest.mark.parametrize(
    ("text", "parts", "cuts"),
    [
        ("Cats eat. Dogs run.", ["Cats eat.", "Dogs run."], 0),
        ("我吃果。他喝水。", ["我吃果。", "他喝水。"], 0),
        ("Hello there, my friend who is here; yes", ["Hello there,", "my friend who is", "here; yes"], 1),
        ("one two three four five six", ["one two three four", "five six"], 1),
        ("1" * 25, ["1" * 20, "1" * 5], 1),
        ("我" * 10, ["我" * 6, "我" * 4], 1),
        ("e\u0301" * 8, ["e\u0301" * 6, "e\u0301" * 2], 1),
        ("👨\u200d👩\u200d👧" * 2, ["👨\u200d👩\u200d👧"] * 2, 1),
        ("一，二，三，四，五，", ["一，二，三，", "四，五，"], 0),
    ],
)
def test_a_cut_takes_the_best_place(text: str, parts: list[str], cuts: int) -> None:
    found = parted(text)
    assert (texts(found), found.cuts, found.dropped) == (parts, cuts, 0)


def test_what_is_asked_of_a_long_text() -> None:
    text = "Cats eat. Dogs run. Owls fly."
    assert texts(parted(text, 99, split="overlong")) == texts(parted(text, 99, split="never")) == [text]
    assert len(parted(text, split="overlong").parts) == 3
    for overlong in ("split", "error"):
        with pytest.raises(DataError, match="has 29 pieces, the model takes 20"):
            parted(text, split="never", overlong=overlong)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="has 25 pieces, the model takes 20"):
        parted("Yes. " + "1" * 25, overlong="error")
    cut = parted("Dogs run. Cats eat my, your and his fish", overlong="truncate")
    assert (texts(cut), cut.dropped, cut.cuts) == (["Dogs run.", "Cats eat my,"], 18, 0)
    cut = parted("No, " + "我" * 9, overlong="truncate")
    assert (texts(cut), cut.dropped) == (["No, " + "我" * 5], 12), (
        "what is cut off is gone: no mark is worth most of it"
    )
    with pytest.raises(DataError, match="character '我': has 3 pieces, the model takes 2"):
        parted("我", 2)


def test_layout_stays() -> None:
    english, chinese = read_language("en"), read_language("zh")

    def shouted(text: str, language: str = "en") -> str:
        division = parted(text, 99, language=language)
        return division.join([part.upper() for part in texts(division)], chinese if language == "en" else english)

    assert (
        shouted("  Cats ate. Dogs ran.\n\n\tOwls flew.  Rats hid. \n")
        == "  CATS ATE.DOGS RAN.\n\n\tOWLS FLEW.  RATS HID. \n"
    )
    assert shouted("我吃。他喝。", "zh") == "我吃。 他喝。"
    assert [shouted(text) for text in ("", "  ", "\n\n", " \r")] == ["", "  ", "\n\n", "  "]
    assert parted("Cats ate. Dogs ran.", 99).join(["", "x"], english) == "x"
    assert parted("one, two three four five", 10).join(["a,", "b", "c"], english) == "a, b c"


@given(
    st.text(alphabet=st.sampled_from("aé我A. ,，。!?\n\t”e\u0301\u200d")),
    st.integers(4, 12),
    st.sampled_from(["en", "zh"]),
)
def test_nothing_is_lost_and_no_part_is_too_long(text: str, limit: int, language: str) -> None:
    found = parted(text, limit, language=language)
    assert "".join("".join(texts(found)).split()) == "".join(text.split())
    assert all(0 < len(part.ids) <= limit for part in found.parts)
    assert "".join(found.join(texts(found), read_language(language)).split()) == "".join(text.split())


@pytest.mark.parametrize("text", ["a" * 60_000, "a," * 30_000, "a " * 30_000, "a. " * 20_000, "\u0301" * 20_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    start = time.process_time()
    found = parted(text, 256)
    assert sum(len(part.ids) for part in found.parts) > 20_000
    assert time.process_time() - start < 5
