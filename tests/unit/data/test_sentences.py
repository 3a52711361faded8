"""Sentences of documents: encoded once, the text's own pieces, and over-long ones as the policy says."""

import os
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.sentences import GROUP_CHARACTERS, SentenceStore, Units, fit_sentences, prepare_sentences
from clearhead.errors import DataError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

TEXT = """ = Lobsters = \n \n The lobster , <unk> <unk> , is large . It is blue @-@ grey .  He said : " Oh ! " \n
 = = Life = = \n \n They live <unk> . <unk> \n\n = Short = \n \n One . \n \n = 苹果 = \n \n我吃了一个苹果。很好吃！\n"""
MASKED = {"specials": "masked", "min_frequency": 1}


def build(
    folder: Path, tokenizer: Tokenizer, text: str = TEXT, group: int = GROUP_CHARACTERS, **config: Any
) -> SentenceStore:
    folder.mkdir(exist_ok=True)
    (folder / "train.txt").write_text(text, encoding="utf-8")
    (folder / "valid.txt").write_text("x")
    settings = DocumentsConfig(**{"separator": "heading", "markup": "wikitext", **config})
    documents = read_documents(folder, split="train", config=settings)
    return prepare_sentences(documents, tokenizer=tokenizer, cache_dir=folder / "cache", group=group)


def trained(kind: Any, **config: Any) -> Tokenizer:
    return Tokenizer.train(TEXT.split("\n"), TokenizerConfig(kind=kind, vocab_size=400, **MASKED, **config))


def shown(store: SentenceStore, tokenizer: Tokenizer) -> list[list[str]]:
    """The sentences of each document as text."""
    texts = [tokenizer.decode(store.ids[a:b].tolist()) for a, b in pairwise(store.sentences.tolist())]
    starts = store.documents.tolist()
    return [texts[a:b] for a, b in pairwise(starts)]


def test_sentences_in_a_row_are_the_line(tmp_path: Path) -> None:
    tokenizer = trained("byte_bpe")
    store = build(tmp_path, tokenizer)
    documents = shown(store, tokenizer)
    assert documents == [
        [
            "The lobster ,\ufffd\ufffd , is large .",
            " It is blue-grey .",
            '  He said : " Oh ! "',
            "They live\ufffd .",
            "\ufffd",
        ],
        ["One ."],
        ["我吃了一个苹果。", "很好吃！"],
    ]
    assert len(store) == 8
    assert store.report.unknown == int((store.ids == tokenizer.ids.unk).sum()) == 4
    assert store.report.tokens == len(store.ids) == store.sentences[-1]
    line = "The lobster , is large . It is blue-grey ."
    assert store.ids.dtype == np.uint16
    plain = build(tmp_path / "2", tokenizer, f" = A = \n \n {line} \n")
    assert plain.ids.tolist() == tokenizer.encode(line)


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "char"])
def test_an_unknown_word_is_one_piece_in_every_kind(tmp_path: Path, kind: Any) -> None:
    tokenizer = trained(kind)
    store = build(tmp_path, tokenizer)
    assert store.report.unknown == 4
    first, second = shown(store, tokenizer)[0][:2]
    assert (
        first.replace("\ufffd", "").split()
        == ("The lobster, , is large." if kind == "wordpiece" else "The lobster , , is large .").split()
    )
    assert second.strip() == ("It is blue-grey." if kind == "wordpiece" else "It is blue-grey .")
    if kind in ("bpe", "unigram"):
        assert "▁▁" not in "".join(tokenizer.pieces(store.ids.tolist())), "a space is not put before a space"


def test_without_the_markup_nothing_is_unknown(tmp_path: Path) -> None:
    tokenizer = trained("byte_bpe")
    store = build(tmp_path, tokenizer, markup="none")
    assert store.report.unknown == 0
    assert shown(store, tokenizer)[0][0] == "The lobster , <unk> <unk> , is large ."


def test_groups_change_nothing(tmp_path: Path) -> None:
    tokenizer = trained("byte_bpe")
    whole = build(tmp_path, tokenizer)
    parts = build(tmp_path, tokenizer, group=1, cache=False)
    for name in ("ids", "sentences", "documents"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def test_the_same_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer, calls = trained("byte_bpe"), []
    plain = Tokenizer.encode_batch
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda *given: (calls.append(1), plain(*given))[1])
    first = build(tmp_path, tokenizer)
    assert build(tmp_path, tokenizer, workers=2).path == first.path
    assert len(calls) == 1
    assert build(tmp_path, tokenizer, cache=False).path == first.path
    others = [build(tmp_path, tokenizer, markup="none"), build(tmp_path, trained("byte_bpe", lowercase=True))]
    assert len({first.path, *(other.path for other in others)}) == 3
    copy, written = pickle.loads(data := pickle.dumps(first)), first.ids.tolist()
    assert len(data) < 500
    first.release()
    assert copy.ids.tolist() == written
    assert copy.report == first.report
    ids = first.path / "ids"
    ids.write_bytes(ids.read_bytes()[:-2])
    with pytest.raises(DataError, match="damaged"):
        SentenceStore(first.path)
    assert build(tmp_path, tokenizer).ids.tolist() == written


def test_what_is_not_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = trained("byte_bpe")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written to '.*cache': No space left on device"):
        build(tmp_path, tokenizer)
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt: no pieces, at least one sentence is needed$"):
        build(tmp_path, trained("byte_bpe"), " \n")


@pytest.fixture
def lengths_store(tmp_path: Path) -> SentenceStore:
    """Documents with sentences of 3, 11, 4, 20 pieces, of 10, and of 5 and 5."""
    sizes = [[3, 11, 4, 20], [10], [5, 5]]
    text = "\n\n".join("".join("我" * (size - 1) + "。" for size in document) for document in sizes)
    tokenizer = Tokenizer.train(["我。"], TokenizerConfig(kind="char", **MASKED))
    return build(tmp_path, tokenizer, text, separator="blank_line", markup="none")


def sizes(units: Units) -> list[list[int]]:
    """Lengths of the units, run by run."""
    lengths = (units.ends - units.starts).tolist()
    runs = units.runs.tolist()
    return [lengths[a:b] for a, b in pairwise(runs)]


def test_over_long_sentences_are_split(lengths_store: SentenceStore) -> None:
    units = fit_sentences(lengths_store, limit=8, overlong="split")
    assert sizes(units) == [[3, 5, 6, 4, 6, 7, 7], [5, 5], [5, 5]]
    assert (units.overlong, units.dropped) == (3, 0)
    assert units.documents.tolist() == [0] * 7 + [1] * 2 + [2] * 2
    assert units.starts.tolist() == [0, *units.ends.tolist()[:-1]]
    assert units.lines(lengths_store.report)[-3:] == [
        "  11 sentences or parts, at most 8 pieces each",
        "  3 sentences were longer",
        "  58 pieces in = 58 used + 0 dropped",
    ]
    whole = fit_sentences(lengths_store, limit=20, overlong="error")
    assert sizes(whole) == [[3, 11, 4, 20], [10], [5, 5]]
    assert len(whole.lines(lengths_store.report)) == len(units.lines(lengths_store.report)) - 1


def test_over_long_sentences_are_dropped_and_counted(lengths_store: SentenceStore) -> None:
    units = fit_sentences(lengths_store, limit=8, overlong="drop")
    assert sizes(units) == [[3], [4], [5, 5]], "what stood around it is no text in a row"
    assert units.documents.tolist() == [0, 0, 2, 2]
    assert (units.overlong, units.dropped) == (3, 41)
    assert units.lines(lengths_store.report)[-1] == "  58 pieces in = 17 used + 41 dropped"


def test_over_long_sentences_are_refused(lengths_store: SentenceStore) -> None:
    with pytest.raises(DataError, match=r"^train\.txt: 3 sentences of more than 8 pieces, the longest of 20; overlong"):
        fit_sentences(lengths_store, limit=8, overlong="error")
    with pytest.raises(DataError, match=r"^train\.txt: every sentence has more than 2 pieces, and overlong drops them"):
        fit_sentences(lengths_store, limit=2, overlong="drop")


@pytest.mark.long
def test_wikitext_by_sentence(shared_data: Path, tmp_path: Path) -> None:
    config = DocumentsConfig(separator="heading", markup="wikitext")
    documents = read_documents(shared_data / "wikitext-2", split="valid", config=config)
    lines = [line for text in documents for line in text.split("\n")]
    tokenizer = Tokenizer.train(lines, TokenizerConfig(vocab_size=2000, specials="masked"))
    store = prepare_sentences(documents, tokenizer=tokenizer, cache_dir=tmp_path)
    assert len(store.documents) - 1 == 60
    assert store.report.unknown == sum(line.count("<unk>") for line in lines)
    assert 7000 < len(store) < 9000
    # but for what divides paragraphs and the unknown words, the pieces are the text
    text = tokenizer.decode(store.ids.tolist())
    assert text.replace("\ufffd", "") == "".join(
        line.strip().replace(" <unk>", "").replace("<unk>", "") for line in lines
    )
