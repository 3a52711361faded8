"""A text and its translation facing each other."""

from dataclasses import replace
from pathlib import Path

from clearhead.documents.words import Word
from clearhead.tasks.translation.documents.facing import Facing, facing
from clearhead.tasks.translation.translator import Translator

TEXT = "我们今天在家。"


def test_what_was_read_before_a_text_is_not_its_own(toy_run: Path) -> None:
    translator = Translator.load(toy_run, device="cpu", engine="torch")
    part = translator.translate(TEXT, beam=2, alignment=True)
    alone = facing(part, translator)
    read = [*part.source_ids[:2], *part.source_ids]
    moved = [at + 2 for at in part.alignment or []]
    behind = facing(replace(part, before=2, source_ids=read, alignment=moved), translator)
    assert alone == behind
    assert alone.source == TEXT
    assert [part.text[word.start : word.end] for word in alone.words] == part.text.replace(".", " .").split()
    assert len(alone.places) == len(part.source_pieces) - 1
    assert "".join(TEXT[word.start : word.end] for word in alone.source_words()) == TEXT


def test_a_word_that_looks_before_the_text_or_at_its_end_looks_at_none_of_it() -> None:
    sides = Facing("ab", [(0, 1), (1, 2)], [Word(0, 1, 0, 0), Word(1, 2, 1, 2)], [-1, 1, 2])
    assert [sides.looked_at(word) for word in sides.words] == [[], [1]]
