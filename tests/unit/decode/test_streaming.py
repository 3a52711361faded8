"""Streaming: what comes out, put together, is the whole text; nothing comes out that would change."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.decode.streaming import CONTEXT, StopStrings, TextStream, lasting
from clearhead.errors import UsageError
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LINES = [
    "我吃了一个苹果。",
    "他们在吃苹果，你呢？",
    "He eats an apple, don't you?",
    "a well-known apple (red) - 'quoted' words",
    "# ## ### the student's two  spaces",
] * 4
KINDS: list[TokenizerKind] = ["char", "byte_bpe", "bpe", "wordpiece", "unigram"]
TRAINED = {kind: Tokenizer.train(LINES, TokenizerConfig(kind=kind, vocab_size=400)) for kind in KINDS}
SPECIAL = st.sampled_from([0, 1, 2, 3])


def parts(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """Returns what each piece gave, and the flush."""
    stream = TextStream(tokenizer.decode)
    return [*(stream.push(piece) for piece in ids), stream.flush()]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [*LINES[:5], "", " ", "  a", "鑫👩‍👩‍👧鑫", "don ' t - x ' 我 ' - '", " ".join(LINES)])
def test_parts_make_the_text(kind: TokenizerKind, text: str) -> None:
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode(text)
    assert "".join(parts(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_parts_of_any_pieces_make_their_text(kind: TokenizerKind, data: st.DataObject) -> None:
    tokenizer = TRAINED[kind]
    runs = st.tuples(st.integers(0, tokenizer.vocab_size - 1) | SPECIAL, st.sampled_from([1, 1, 1, 2, 30]))
    ids = [piece for piece, times in data.draw(st.lists(runs)) for _ in range(times)]
    assert "".join(parts(tokenizer, ids)) == tokenizer.decode(ids)


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_long_random_pieces_make_their_text(kind: TokenizerKind) -> None:
    tokenizer, chance = TRAINED[kind], random.Random(0)
    # special pieces and the marks that change spaces come often
    marks = [*range(4), *(piece for mark in "' - # ( ，" for piece in tokenizer.encode("x " + mark))]
    for _ in range(20):
        ids = [
            chance.choice(marks) if chance.random() < 0.5 else chance.randrange(tokenizer.vocab_size)
            for _ in range(400)
        ]
        assert "".join(parts(tokenizer, ids)) == tokenizer.decode(ids)


def test_a_character_comes_whole_and_at_once() -> None:
    tokenizer = TRAINED["byte_bpe"]
    ids = tokenizer.encode("鑫a👩")  # 3 + 1 + 4 bytes, none of them seen in training
    assert parts(tokenizer, ids) == ["", "", "鑫", "a", "", "", "", "👩", ""]
    assert parts(tokenizer, [ids[0], 1, 1, *[2] * 30, *ids[1:3]])[-2:] == ["鑫", ""], "special pieces between its bytes"


def test_half_a_character_comes_at_the_end() -> None:
    tokenizer = TRAINED["byte_bpe"]
    first, second, _ = tokenizer.encode("鑫")
    assert parts(tokenizer, [first, second]) == ["", "", "\ufffd"]
    assert parts(tokenizer, [first, *tokenizer.encode("a")]) == ["", "\ufffda", ""]


@pytest.mark.parametrize("kind", ["char", "byte_bpe", "bpe", "unigram"])
def test_text_does_not_wait_without_need(kind: TokenizerKind) -> None:
    tokenizer = TRAINED[kind]
    ids = tokenizer.encode("He eats an apple")
    given, seen = parts(tokenizer, ids), 0
    for count, part in enumerate(given[:-1], 1):
        seen += len(part)
        assert seen == len(tokenizer.decode(ids[:count]))


def test_wordpiece_waits_where_a_space_may_go() -> None:
    tokenizer = TRAINED["wordpiece"]
    ids = tokenizer.encode("don't")
    words = [word.removeprefix("##") for word in tokenizer.pieces(ids)]
    assert words[-2:] == ["'", "t"]
    assert parts(tokenizer, ids)[-3:] == ["", "'t", ""]
    assert "".join(parts(tokenizer, [*ids[:-1], *tokenizer.encode("?")])) == "don '?"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", ["text", "unknown", "special", "half"])
def test_a_piece_costs_the_same_however_long_the_text(kind: TokenizerKind, case: str) -> None:
    tokenizer, decoded, calls = TRAINED[kind], 0, 0

    def decode(ids: list[int]) -> str:
        nonlocal decoded, calls
        decoded, calls = decoded + len(ids), calls + 1
        assert len(ids) <= 2 * CONTEXT
        return tokenizer.decode(ids)

    stream, half = TextStream(decode), tokenizer.encode("鑫")[:1]
    ids = {"text": tokenizer.encode(" ".join(LINES)), "unknown": [3] * 500, "special": [1] * 500, "half": half * 500}[
        case
    ]
    for piece in ids:
        stream.push(piece)
    assert calls <= 2 * len(ids)
    assert decoded <= 2 * CONTEXT * calls


# ------------------------------------------------------------------------------------------------------ stop strings


def shown(stops: list[str], chunks: list[str]) -> tuple[str, bool]:
    """Returns all that may be shown of a text that comes in chunks, and whether a stop string ended it."""
    found, matcher = "", StopStrings(stops)
    for chunk in chunks:
        text, ended = matcher.push(chunk)
        found += text
        if ended:
            return found, True
    return found + matcher.flush(), False


def expected(stops: list[str], text: str) -> tuple[str, bool]:
    """The rule, character by character: the first end of a stop string counts, and of those the longest."""
    for end in range(1, len(text) + 1):
        lengths = [len(stop) for stop in stops if text[:end].endswith(stop)]
        if lengths:
            return text[: end - max(lengths)], True
    return text, False


def test_text_ends_before_a_stop_string() -> None:
    matcher = StopStrings(["\n\n", "aba"])
    assert matcher.push("one\n") == ("one", False)
    assert matcher.push("two a") == ("\ntwo ", False)
    assert matcher.push("b") == ("", False)
    assert matcher.push("ba") == ("abb", False), "the last a may begin another"
    assert matcher.push("ba, more") == ("", True)
    assert matcher.flush() == ""


def test_prefixes_that_overlap() -> None:
    assert shown(["aab"], list("aaaab")) == ("aa", True)
    assert shown(["abab", "ba!"], list("xababa")) == ("x", True)
    assert shown(["abcd", "bc"], list("abcd")) == ("a", True)
    assert shown(["abcd", "bc"], ["abcd"]) == ("a", True), "in one part as in four"
    assert shown(["c", "bc"], ["abc"]) == ("a", True), "of two that end together the longest"


def test_a_stop_string_that_never_comes_takes_nothing() -> None:
    assert shown(["never", "abc"], list("abandon nev")) == ("abandon nev", False)
    assert shown([], ["a", "b"]) == ("ab", False)
    matcher = StopStrings(["<stop>"])
    assert matcher.push("x <sto") == ("x ", False)
    assert matcher.flush() == "<sto"
    assert matcher.flush() == ""


@given(
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=4),
    st.lists(st.text("ab", max_size=4), max_size=8),
)
@settings(max_examples=300, deadline=None)
def test_chunks_change_nothing(stops: list[str], chunks: list[str]) -> None:
    text = "".join(chunks)
    assert shown(stops, chunks) == shown(stops, list(text)) == shown(stops, [text]) == expected(stops, text)


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(UsageError, match=r"\['a', ''\].*empty"):
        StopStrings(["a", ""])


def test_a_stop_string_across_pieces_of_a_real_tokenizer() -> None:
    tokenizer = TRAINED["byte_bpe"]
    stream, matcher, found = TextStream(tokenizer.decode), StopStrings(["鑫!"]), ""
    for piece in tokenizer.encode("我吃鑫鑫!了"):
        text, ended = matcher.push(stream.push(piece))
        found += text
        if ended:
            break
    assert found == "我吃鑫"


def test_the_end_that_a_later_piece_may_change_is_not_settled() -> None:
    assert lasting("我\ufffd") == "我"
    assert lasting("don '") == "don"
    assert lasting("don 't") == "don 't"
    assert lasting("") == ""
