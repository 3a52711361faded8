"""Documents of raw text: what is found, where it is cut, what divides it, what is counted, and what is refused."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.config import parse
from clearhead.data.documents import Documents, DocumentsConfig, read_documents
from clearhead.errors import DataError, UsageError


def write(folder: Path, **files: bytes | str) -> Path:
    """Writes ``train_txt`` as train.txt, and so on."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def read(data: Path, split: Any = "train", **config: Any) -> Documents:
    return read_documents(data, split=split, config=DocumentsConfig(**config))


def records(*texts: str) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


ODD = "\n \none\r\ntwo \n\n\t\n\x0bthree\n \nfour<|endoftext|>five\n\n<|endoftext|>\n<|endoftext|>six\u2028seven"


@pytest.mark.parametrize(
    ("separator", "expected", "empty"),
    [
        ("file", [ODD], 0),
        (
            "line",
            ["one", "two ", "\x0bthree", "four<|endoftext|>five", "<|endoftext|>", "<|endoftext|>six\u2028seven"],
            6,
        ),
        (
            "blank_line",
            ["one\r\ntwo ", "\x0bthree", "four<|endoftext|>five", "<|endoftext|>\n<|endoftext|>six\u2028seven"],
            0,
        ),
        ("end_of_text", ["\n \none\r\ntwo \n\n\t\n\x0bthree\n \nfour", "five\n\n", "six\u2028seven"], 1),
    ],
)
def test_what_divides_documents(tmp_path: Path, separator: Any, expected: list[str], empty: int) -> None:
    documents = read(write(tmp_path, train_txt=ODD, valid_txt="x"), separator=separator)
    assert list(documents) == expected
    report = documents.report
    assert (report.files, report.part, report.documents, report.empty) == (["train.txt"], "", len(expected), empty)
    assert report.characters == sum(map(len, expected))
    assert report.bytes == sum(len(text.encode()) for text in expected)
    assert report.words == sum(len(text.split()) for text in expected)
    assert report.line_feeds == sum(text.count("\n") for text in expected)
    assert list(documents) == expected
    assert documents.report is not report
    assert documents.report == report, "a second pass counts anew"


ARTICLES = """ = First = \r
 \r
 A state @-@ owned mill , 3 @.@ 5 km away , 1 @,@ 000 men .\r
 = Played , W = \r
 Wins \r
 \r
 = = Section = = \r
 \r
 Another paragraph <unk> . \r
 \r
 = Second = \r
 \r
 = = = Deep = = = \r
 = not a title = because of this \r
 \r
 = E = mc2 = \r
\r
 = Last = """


def test_headings_divide(tmp_path: Path) -> None:
    data = write(tmp_path, train_txt="\n before \n\n" + ARTICLES.replace("\r", ""), valid_txt="x")
    documents = read(data, separator="heading")
    first = " A state @-@ owned mill , 3 @.@ 5 km away , 1 @,@ 000 men .\n = Played , W = \n Wins \n"
    first += " Another paragraph <unk> . "
    assert list(documents) == [" before ", first, " = not a title = because of this "]
    assert documents.report.empty == 2, "two titles without text"
    plain = read(data, separator="heading", markup="wikitext")
    assert next(iter(list(plain)[1:])).startswith(" A state-owned mill , 3.5 km away , 1,000 men .\n")
    assert documents.digest != plain.digest
    carriage = read(write(tmp_path / "2", train_txt=ARTICLES, valid_txt="x"), separator="heading")
    assert [text.replace("\r", "") for text in carriage] == [first, " = not a title = because of this "]


def test_a_mark_at_the_end_leaves_nothing_behind(tmp_path: Path) -> None:
    documents = read(write(tmp_path, train_txt="a<|endoftext|>b<|endoftext|>", valid_txt="x"), separator="end_of_text")
    assert list(documents) == ["a", "b"]
    assert documents.report.empty == 0


def test_folders_and_records(tmp_path: Path) -> None:
    train = write(tmp_path / "train", b_txt="second\n\ufeff", c_jsonl=records("third\n", " ", "fourth"), notes_md="no")
    (train / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbffirst\n"))
    write(tmp_path, valid_jsonl_gz=gzip.compress(records("x", "y").encode()))
    documents = read(tmp_path)
    assert list(documents) == ["first\n", "second\n\ufeff", "third\n", "fourth"]
    assert documents.report.files == ["a.txt.gz", "b.txt", "c.jsonl"]
    assert documents.report.byte_order_marks == ["a.txt.gz"]
    assert documents.report.empty == 1
    assert documents.characters == 6 + 8 + len(records("third\n", " ", "fourth"))
    assert list(read(tmp_path, "valid")) == ["x", "y"]
    assert documents.report.lines() == [
        "a.txt.gz, b.txt, c.jsonl",
        "  4 documents, 26 characters, 5 words",
        "  1 empty documents skipped",
        "  byte order mark removed from a.txt.gz",
        "  0 tokens, 0 of them end marks; 0 unknown",
    ]


def test_other_stems_and_fields(tmp_path: Path) -> None:
    write(tmp_path, big_jsonl='{"body": "a", "text": 1}\n\n{"body": "b"}', dev_txt="v", held_txt="h")
    names = {"train": "big", "valid": "dev", "test": "held", "text_field": "body"}
    assert [list(read(tmp_path, split, **names)) for split in names if split != "text_field"] == [
        ["a", "b"],
        ["v"],
        ["h"],
    ]


TEXT = "ab\ncd\n\nef 你好\n"


@pytest.mark.parametrize("place", ["input.txt", "input.txt.gz", "whole/only.txt", "split/train.txt"])
def test_without_validation_text_the_end_is_cut_off(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(TEXT.encode()) if place.endswith(".gz") else TEXT.encode())
    data = path if path.parent == tmp_path else path.parent
    train, valid = (read(data, split, valid_fraction=0.3) for split in ("train", "valid"))
    assert [list(train), list(valid)] == [[TEXT[:9]], [TEXT[9:]]]
    assert (train.characters, valid.characters) == (9, 4)
    assert (train.report.part, valid.report.part) == ("characters 1 to 9 of 13", "characters 10 to 13 of 13")


def test_the_cut_goes_through_several_files(tmp_path: Path) -> None:
    write(tmp_path, a_txt="\ufeffone\n", b_txt="two\n", c_txt="three\n")
    assert list(read(tmp_path, "train", valid_fraction=0.5)) == ["one\n", "two"]
    rest = read(tmp_path, "valid", valid_fraction=0.5)
    assert list(rest) == ["three\n"]
    assert rest.report.empty == 1
    assert list(read(tmp_path, "valid", valid_fraction=0.4)) == ["three\n"]
    assert list(read(tmp_path, "train", valid_fraction=0.5, separator="line")) == ["one", "two"]


def test_the_cut_leaves_records_whole(tmp_path: Path) -> None:
    write(tmp_path, a_jsonl=records("one", "two"), b_jsonl=records("three", "four"))
    for percent in range(1, 51):
        parts = [list(read(tmp_path, split, valid_fraction=percent / 100)) for split in ("train", "valid")]
        assert parts[0] + parts[1] == ["one", "two", "three", "four"]
    assert parts[0] == ["one", "two", "three"], "a record is in the part in which it starts"


@given(
    files=st.lists(st.text("ab \n\r你\u2028", min_size=1).map(lambda text: f"x{text}"), min_size=1, max_size=3),
    fraction=st.floats(0.01, 0.5),
)
@settings(max_examples=50, deadline=None)
def test_both_parts_are_the_text(tmp_path_factory: pytest.TempPathFactory, files: list[str], fraction: float) -> None:
    folder = write(tmp_path_factory.mktemp("cut"), **{f"{number}_txt": text for number, text in enumerate(files)})
    train, valid = (read(folder, split, valid_fraction=fraction) for split in ("train", "valid"))
    whole = "".join(files)
    border = int(len(whole) * (1 - fraction))
    joined = "".join([*train, *valid])
    assert joined == whole or train.report.empty + valid.report.empty
    assert "".join(joined.split()) == "".join(whole.split())
    assert (train.characters, valid.characters) == (border, len(whole) - border)


def test_documents_come_before_the_rest_is_looked_at(tmp_path: Path) -> None:
    documents = iter(read(write(tmp_path, train_jsonl=records("one", "two") + "{", valid_txt="x")))
    assert [next(documents), next(documents)] == ["one", "two"]
    with pytest.raises(DataError, match=r"train\.jsonl line 3: not JSON"):
        next(documents)


def test_digest_is_of_what_is_read(tmp_path: Path) -> None:
    data = write(tmp_path / "1", train_txt=TEXT, valid_txt="x")
    packed = write(tmp_path / "2", train_txt_gz=gzip.compress(b"\xef\xbb\xbf" + TEXT.encode()), valid_txt="y")
    first = read(data).digest
    assert read(packed).digest == first
    assert read(data, workers=3, packing="isolated", valid_fraction=0.3).digest == first
    others = [
        read(data, "valid"),
        read(data, separator="line"),
        read(data, text_field="body"),
        read(write(tmp_path / "3", train_txt=TEXT.replace("a", "b"), valid_txt="x")),
        read(write(tmp_path / "4", train_jsonl=TEXT, valid_txt="x")),
        read(write(tmp_path / "5", a_txt=TEXT[:4], b_txt=TEXT[4:]), valid_fraction=0.01),
        read(write(tmp_path / "5", a_txt="AB\nc"), valid_fraction=0.01),
        read(write(tmp_path / "6", train_txt=TEXT)),
        read(write(tmp_path / "6", train_txt=TEXT), "valid"),
    ]
    assert len({first, *(documents.digest for documents in others)}) == 10


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train_txt": b""}, r"train\.txt is empty"),
        ({"train_txt": b"\xef\xbb\xbf"}, r"train\.txt is empty"),
        ({"train_txt": b"ok\n\xe4\xbd\xa0 \xff\n"}, r"train\.txt line 2: not UTF-8 \(byte 5 of the line\)"),
        ({"train_txt": b"some lines of text\nand then a\0b"}, r"train\.txt line 2: has a NUL byte: binary"),
        ({"train_txt": "text".encode("utf-16")}, r"is UTF-16, not UTF-8: convert it by iconv"),
        ({"train_txt_gz": b"no gzip"}, r"train\.txt\.gz cannot be read: Not a gzipped file"),
        ({"train_txt_gz": gzip.compress(b"text" * 99)[:-9]}, r"train\.txt\.gz cannot be read: Compressed file ended"),
        ({"train_jsonl": '{"text": "a"}\n{"text": a}'}, r"train\.jsonl line 2: not JSON \(Expecting value\)"),
        ({"train_jsonl": "[" * 100_000}, r"train\.jsonl line 1: not JSON"),
        ({"train_jsonl": '{"test": "a"}'}, r"line 1: field 'text' is missing; did you mean 'test'\?"),
        ({"train_jsonl": '["a"]'}, r"line 1: field 'text' is missing$"),
        ({"train_jsonl": '{"text": ["a"]}'}, r"line 1: field 'text' is not a string"),
        ({"train_jsonl": r'{"text": "\ud800"}'}, r"line 1: field 'text' has a lone surrogate"),
        ({"train_txt": "a", "train_jsonl": "{}"}, r"train\.txt and train\.jsonl both exist: keep one"),
        ({"trian_txt": "a"}, r"has no train split: add train\.txt, .* or a folder train; did you mean 'trian\.txt'\?"),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, files: dict[str, bytes | str], words: str) -> None:
    with pytest.raises(DataError, match=words) as e:
        list(read(write(tmp_path, valid_txt="x", **files)))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("files", "place", "split", "words"),
    [
        ({"input_txt": "a"}, "inptu.txt", "train", r"inptu\.txt' does not exist; did you mean 'input\.txt'\?"),
        ({"input_txt": "a"}, "elsewhere", "train", r"elsewhere' does not exist$"),
        (
            {"input_md": "a"},
            "input.md",
            "train",
            r"must end in \.txt, \.txt\.gz, \.jsonl, \.jsonl\.gz, \.parquet or \.arrow",
        ),
        (
            {"input_md": "a"},
            "",
            "train",
            r"holds no file that ends in \.txt, \.txt\.gz, \.jsonl, \.jsonl\.gz, \.parquet or \.arrow",
        ),
        ({"input_txt": "a"}, "input.txt", "train", r"has no valid split: .* or set data\.valid_fraction = 0\.1$"),
        ({"train_txt": "a", "vaild_txt": "a"}, "", "train", r"valid_fraction = 0\.1; did you mean 'vaild\.txt'\?"),
        (
            {"train_txt": "a"},
            "",
            "valid",
            r"has no valid split: add valid\.txt, valid\.jsonl .* set data\.valid_fraction",
        ),
        ({"test_txt": "a"}, "", "valid", r"has no valid split: add valid\.txt, .* a folder valid; known: test\.txt$"),
        ({"input_txt": "a"}, "input.txt", "test", r"has no test split: add test\.txt, .* or a folder test$"),
        ({"train_txt": "a", "tset_txt": "a"}, "", "test", r"has no test split: .*; did you mean 'tset\.txt'\?"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, files: dict[str, str], place: str, split: str, words: str) -> None:
    write(tmp_path, **files)
    with pytest.raises(DataError, match=words) as e:
        read(tmp_path / place, split, valid_fraction=0.0)
    assert "\n" not in str(e.value)


def test_an_empty_split_folder_is_refused(tmp_path: Path) -> None:
    (write(tmp_path, valid_txt="x") / "train").mkdir()
    with pytest.raises(DataError, match=r"train' holds no file that ends in"):
        read(tmp_path)


@pytest.mark.parametrize(
    "tree", [{"valid_fraction": 0.6}, {"valid_fraction": -0.1}, {"separator": "page"}, {"workers": -1}]
)
def test_config_refuses(tree: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{next(iter(tree))} = ")):
        parse(DocumentsConfig, tree, source="recipe")


@pytest.mark.long
def test_tiny_shakespeare_is_cut_as_everywhere(shared_data: Path) -> None:
    text = (shared_data / "tiny-shakespeare" / "input.txt").read_bytes().decode()
    (train,), (valid,) = (read(shared_data / "tiny-shakespeare", split) for split in ("train", "valid"))
    assert (len(train), len(valid)) == (1_003_854, 111_540)
    assert train + valid == text


def test_wikitext_counts_are_the_published_ones(shared_data: Path) -> None:
    documents = read(shared_data / "wikitext-2", "valid")
    assert len(list(documents)) == 1
    report = documents.report
    assert report.bytes == 1_121_681
    assert report.words + report.line_feeds == 217_646
    paragraphs = list(read(shared_data / "wikitext-2", "valid", separator="blank_line"))
    assert len(paragraphs) == 1160
    assert not any(text.isspace() or "\n \n" in text for text in paragraphs)


@pytest.mark.long
@pytest.mark.parametrize(("split", "articles", "paragraphs"), [("train", 600, 17_556), ("valid", 60, 0)])
def test_wikitext_articles(shared_data: Path, split: str, articles: int, paragraphs: int) -> None:
    documents = list(read(shared_data / "wikitext-2", split, separator="heading", markup="wikitext"))
    assert len(documents) == articles
    lines = [line for text in documents for line in text.split("\n")]
    assert not any(line.isspace() or re.search(r"^ = =|= = $| @[-,.]@ ", line) for line in lines)
    legends = sum(bool(re.fullmatch(" = .* = ", line)) for line in lines)
    assert not paragraphs or len(lines) - legends == paragraphs


@pytest.mark.long
def test_poems_are_lines(shared_data: Path) -> None:
    for split, count in (("train", 64_600), ("valid", 3_583)):
        documents = read(shared_data / "tang-poetry", split, separator="line")
        assert sum(1 for _ in documents) == count
        assert documents.report.characters == 12 * count


def test_too_little_text_to_cut(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a")
    for split in ("train", "valid"):
        with pytest.raises(DataError, match=r"one.txt: 1 characters, too few to keep data.valid_fraction = 0.1"):
            read_documents(tmp_path / "one.txt", split=split, config=DocumentsConfig())
