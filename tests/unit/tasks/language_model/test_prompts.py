"""Prompts as a model gets them, and texts in the making: settled parts, stop strings, half characters."""

import pytest

from clearhead.decode.generation import Continuation, Reason
from clearhead.errors import DataError, UsageError
from clearhead.tasks.language_model.prompts import Generation, GenerationConfig, Prompt, TextWriter
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LINES = ["我吃了一个苹果。", "He eats an apple, don't you?"] * 4
CHAR = Tokenizer.train(LINES, TokenizerConfig(kind="char", min_frequency=1))
BYTES = Tokenizer.train(LINES, TokenizerConfig(kind="byte_bpe", vocab_size=300))
EOS = 2


def prompt(text: str, *, marks: bool = True, context: int | None = 10, **settings: object) -> Prompt:
    return Prompt.of(text, CHAR, GenerationConfig(**settings), context=context, marks=marks)  # type: ignore[arg-type]


def test_an_end_mark_comes_before_a_prompt_where_documents_began_with_one() -> None:
    ids = CHAR.encode("an apple")
    assert prompt("an apple").ids == [EOS, *ids]
    assert prompt("an apple", marks=False).ids == ids
    assert prompt("").ids == prompt("", marks=False).ids == [EOS]
    found = prompt("☃an☃")
    assert (found.unknown, found.dropped, found.text) == (2, 0, "☃an☃")
    with pytest.raises(DataError, match="lone surrogate"):
        prompt("\ud800")


def test_a_window_takes_the_end_of_a_long_prompt() -> None:
    text = "He eats an apple"
    found = prompt(text, max_new=99)
    assert (found.ids, found.dropped) == (CHAR.encode(text)[-10:], 6)
    assert prompt(text[:10]).ids == [EOS, *CHAR.encode(text[:10])], "of which the model looks back on the last ten"
    assert prompt(text[:10]).dropped == 0


def test_an_error_names_the_numbers() -> None:
    assert prompt("He eat", max_new=4, overlong="error").ids == [EOS, *CHAR.encode("He eat")]
    message = r"^prompt 'He eats': has 7 pieces, with max_new = 4 too many for the context of 10; lower max_new, or "
    with pytest.raises(DataError, match=message):
        prompt("He eats", max_new=4, overlong="error")
    assert prompt("", max_new=10, overlong="error").ids == [EOS]
    with pytest.raises(DataError, match="has 0 pieces, with max_new = 11 too many for the context of 10"):
        prompt("", max_new=11, overlong="error")


def test_a_prompt_is_cut_on_the_left() -> None:
    found = prompt("He eats", max_new=4, overlong="truncate-left")
    assert (found.ids, found.dropped, found.text) == (CHAR.encode("e eats"), 1, "He eats")
    assert prompt("He eat", max_new=4, overlong="truncate-left").ids == [EOS, *CHAR.encode("He eat")]
    for text, most in (("He", 10), ("He", 99), ("", 11)):
        with pytest.raises(DataError, match="too many for the context of 10"):
            prompt(text, max_new=most, overlong="truncate-left")


@pytest.mark.parametrize("overlong", ["window", "error", "truncate-left"])
def test_without_a_context_no_prompt_is_too_long(overlong: str) -> None:
    found = prompt("He eats an apple", max_new=99, overlong=overlong, context=None)
    assert (found.ids, found.dropped) == ([EOS, *CHAR.encode("He eats an apple")], 0)
    assert prompt("", overlong=overlong, context=None).ids == [EOS]


def write(
    tokenizer: Tokenizer, before: str, ids: list[int], *, stop: tuple[str, ...] = (), reason: Reason = "length"
) -> tuple[Generation, list[str]]:
    """Pushes pieces until a stop string is there; returns the text and its parts."""
    parts: list[str] = []
    begun = Prompt.of(before, tokenizer, GenerationConfig(), context=99, marks=True)
    writer, found = TextWriter(begun, tokenizer, stop=stop, on_text=parts.append), Continuation(reason=reason)
    for piece in ids:
        found.ids.append(piece)
        found.log_probs.append(-0.5)
        if piece != EOS and writer.push(piece):
            found.reason = "stop"
            break
    generation = writer.finish(found)
    assert "".join(parts) == generation.text
    assert generation.pieces == tokenizer.pieces(generation.ids)
    return generation, parts


def test_a_text_goes_on_where_its_prompt_ends() -> None:
    whole = BYTES.encode("He eats an apple")
    for kind in (BYTES, CHAR, Tokenizer.train(LINES, TokenizerConfig(kind="bpe", vocab_size=99, min_frequency=1))):
        start, rest = kind.encode("He eats"), kind.encode("He eats an apple")
        found, parts = write(kind, "He eats", rest[len(start) :])
        assert (found.text, found.prompt) == (" an apple", "He eats")
        assert len(parts) > 1
    assert write(BYTES, "", [*whole, EOS], reason="end")[0].text == "He eats an apple"
    assert write(CHAR, "☃", CHAR.encode("a"))[0].text == "a", "the unknown end of a prompt is none of the text"


def test_a_stop_string_is_left_out_whatever_pieces_spell_it() -> None:
    found, parts = write(CHAR, "an", CHAR.encode(" apple, don't"), stop=("you", "e,"))
    assert (found.text, found.reason) == (" appl", "stop")
    assert "".join(found.pieces) == "▁apple,"
    assert parts == [" ", "a", "p", "p", "l"]
    found, parts = write(CHAR, "an", CHAR.encode(" apple, do"), stop=("don't",))
    assert (found.text, found.reason) == (" apple, do", "length")
    assert parts[-1] == "do", "held back to the end for a stop string that never comes"
    assert write(CHAR, "e", CHAR.encode(", x"), stop=("e,",))[0].reason == "length", "a prompt is no part of it"
    with pytest.raises(UsageError, match="one of them is empty"):
        write(CHAR, "", [], stop=("",))


def test_no_half_character() -> None:
    first, second, third = BYTES.encode("鑫")
    found, parts = write(BYTES, "a", [first, second, third])
    assert (found.text, parts) == ("鑫", ["鑫"])
    found, parts = write(BYTES, "a", [*BYTES.encode("He"), first, second])
    assert (found.text, "".join(parts)) == ("He", "He"), "the limit came amid a character"
    found, parts = write(BYTES, "a", [first, EOS], reason="end")
    assert found.text == "\ufffd", "the model itself ended it there"


def test_nothing_comes_behind_a_stop_string() -> None:
    """Not even what waited for its other bytes, in a piece that goes beyond the stop string."""
    tokenizer = Tokenizer.train(["我吃", "我听", "我吐"] * 9, TokenizerConfig(kind="byte_bpe", vocab_size=270))
    beyond = next(piece for piece in range(tokenizer.vocab_size) if tokenizer.decode([piece]) == "我\ufffd")
    assert write(tokenizer, "a", [beyond], stop=("我",))[0].text == ""
    assert write(tokenizer, "a", [beyond])[0].text == "我"


def test_more_texts_than_a_beam_has() -> None:
    with pytest.raises(ValueError, match="n = 3: must be at most beam = 2"):
        GenerationConfig(n=3, beam=2)
    assert GenerationConfig(n=3).beam == 0
