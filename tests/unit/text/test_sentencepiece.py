"""SentencePiece models: cut as its own library cuts, and refused by name where that is not so."""

import dataclasses
import gzip
import io
from pathlib import Path

import pytest

from clearhead.text.sentencepiece import _is_grown, read_sentencepiece
from tests.foreign import SOURCE, field, sentencepiece


def test_what_a_file_says() -> None:
    model = read_sentencepiece(sentencepiece(SOURCE))
    assert model.pieces[:4] == [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁", -3.0, 1)]
    assert (model.unk_id, model.charsmap, model.rules) == (0, b"", {"model_type": 1})
    assert len(model.pieces) == 3 + len(SOURCE)


def test_the_likeliest_pieces_are_cut() -> None:
    pipeline = read_sentencepiece(sentencepiece(SOURCE)).build()
    for text, expected in (
        ("He eats an apple.", ["▁", "H", "e", "▁eats", "▁an", "▁apple", "."]),
        ("  eats   an ", ["▁eats", "▁an"]),
        ("中国 an", ["▁", "中国", "▁an"]),  # what is unknown in a row is one
        ("</s>", ["▁", "</", "s", ">"]),  # text that spells a special piece is text
        ("", []),
    ):
        assert pipeline.encode(text).tokens == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xff", "not a SentencePiece model"),
        (b"nothing of the kind", "not a SentencePiece model"),
        (b"", "it has not one unknown piece"),
        (sentencepiece(SOURCE)[:-1], "not a SentencePiece model: it ends too early"),
        (sentencepiece(SOURCE, trainer=field(3, 2)), "model_type = 2: must be 1"),
        (sentencepiece(SOURCE, trainer=field(35, 1)), "byte_fallback = 1: must be 0"),
        (sentencepiece(SOURCE) + field(3, field(4, 0)), "remove_extra_whitespaces = 0: must be 1"),
        (sentencepiece(SOURCE, types={"▁an": 4}), "piece '▁an' is user-defined"),
        (sentencepiece(SOURCE, types={"▁an": 6}), "piece '▁an' is a byte"),
    ],
)
def test_what_cannot_be_read_or_cut_is_named(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sentencepiece(content).build()


@pytest.mark.long
@pytest.mark.parametrize("language", ["en", "de"])
def test_real_text_is_cut_as_its_own_library_cuts_it(language: str, shared_data: Path) -> None:
    library = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    folder, out = shared_data / "multi30k-en-de", io.BytesIO()
    with gzip.open(folder / f"train.{language}.gz", "rt", encoding="utf-8") as file:
        lines = [next(file) for _ in range(2000)]
    words = {"vocab_size": 1000, "model_type": "unigram", "character_coverage": 0.999, "num_threads": 1}
    library.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, minloglevel=2, **words)
    theirs = library.SentencePieceProcessor(model_proto=out.getvalue())
    ours = read_sentencepiece(out.getvalue()).build()
    texts = (folder / f"val.{language}").read_text(encoding="utf-8").splitlines()
    texts += [
        "",
        "  two  spaces\tand a tab ",
        "ﬁne Ａｂｃ １２",
        "日本語 und 한국어",
        "</s> <unk> ▁x",
        "naïve—“½”…",
    ]
    assert [ours.encode(text).tokens for text in texts] == [theirs.encode(text, out_type=str) for text in texts]


def test_rules_that_make_a_text_much_longer_are_refused() -> None:
    for length, refused in ((256, False), (257, True)):
        charsmap = (8).to_bytes(4, "little") + b"\1" * 8 + b"a\0" + b"b" * length + b"\0"
        model = dataclasses.replace(read_sentencepiece(sentencepiece(SOURCE)), charsmap=charsmap)
        assert _is_grown(charsmap) is refused
        if refused:
            with pytest.raises(ValueError, match="its normalization replaces a character by more than 256 bytes"):
                model.build()
