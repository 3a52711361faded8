"""Words of a text by its pieces: each piece in one place, whatever its characters consist of."""

from collections.abc import Sequence

import pytest

from clearhead.documents.words import Word, spans, words
from clearhead.tasks.translation.translator import Translator


def text_of(pieces: Sequence[bytes]) -> str:
    return b"".join(pieces).decode("utf-8", "replace")


def shown(pieces: list[bytes]) -> list[str]:
    ids, table = list(range(len(pieces))), pieces
    text = text_of(pieces)
    places = spans(ids, lambda some: text_of([table[each] for each in some]))
    assert "".join(text[start:end] for start, end in places) == text
    found = words(text, places)
    assert [word.first for word in found] == sorted({word.first for word in found})
    return [text[word.start : word.end] for word in found]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b"Th", b"is", b" p", b"i", b"zza", b" is", b"."], ["This", "pizza", "is", "."]),
        ([b"does", b"n", b"'", b"t", b" go"], ["doesn't", "go"]),
        (["这个".encode(), "比".encode(), b"\xe8", b"\x90", b"\xa8", "。".encode()], ["这个", "比", "萨", "。"]),
        (["我有 ".encode(), b"3", b"4", " 本书".encode()], ["我有", "34", "本书"]),
        ([b" "], []),
        ([b"a", b" ", b" ", b"b"], ["a", "b"]),
        ([], []),
    ],
)
def test_words(pieces: list[bytes], expected: list[str]) -> None:
    assert shown(pieces) == expected


def test_pieces_of_words_are_all_pieces_in_order(toy_run: object) -> None:
    translator = Translator.load(str(toy_run))
    for each in translator.translate(["这个比萨比那个好吃。", "我妹妹不骑自行车。", "他喝水。"]):
        ids = [piece for piece in each.target_ids if piece != translator.tokenizers.tgt.ids.eos]
        found = words(each.text, spans(ids, translator.text_of))
        assert [word.first for word in found[1:]] == [word.last + 1 for word in found[:-1]]
        assert (found[0].first, found[-1].last) == (0, len(ids) - 1)
        assert " ".join(each.text.replace(".", " .").split()) == " ".join(each.text[w.start : w.end] for w in found)


def test_a_word_is_a_place_and_its_pieces() -> None:
    assert words("ab c", [(0, 1), (1, 2), (2, 4)]) == [Word(0, 2, 0, 1), Word(3, 4, 2, 2)]
