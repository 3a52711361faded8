"""Pairs in one file are those of two plain files, in every format, to the encoded piece."""

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from clearhead.data.corpus import DataConfig, ParallelRows, read_parallel
from clearhead.data.formats.pairs import pair_rows
from clearhead.data.store import prepare
from clearhead.errors import DataError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.unit.data.formats.test_tables import write

PAIRS = [
    ("我喝水。", "I drink water."),
    ("", "empty"),
    ("她 吃\u2028苹果", "She eats apples"),
    ("我喝水。", "I drink water."),
]


def written(folder: Path, kind: str, pairs: list[tuple[str, str]] = PAIRS) -> Path:
    folder.mkdir()
    rows: list[dict[str, Any]] = [{"en": en, "id": number, "zh": zh} for number, (zh, en) in enumerate(pairs)]
    match kind:
        case "plain":
            for side, name in enumerate(("zh", "en")):
                (folder / f"train.{name}").write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
        case "tsv":
            text = "".join(f"{zh}\t{en}\n" for zh, en in pairs)
            (folder / "train.tsv.gz").write_bytes(gzip.compress(f"\ufeff{text}".encode()))
        case "named":
            text = "".join(f"{row['en']}\t{row['id']}\t{row['zh']}\r\n" for row in rows)
            (folder / "train.tsv").write_text(f"en\tid\tzh\r\n{text}", encoding="utf-8", newline="")
        case "translation":
            nested = [{"translation": {"en": en, "zh": zh}} for zh, en in pairs]
            parquet.write_table(pa.Table.from_pylist(nested), folder / "train.parquet")
        case "tmx":
            units = "".join(
                f'<tu><tuv xml:lang="zh-CN"><seg>{zh}</seg></tuv><tuv xml:lang="en"><seg>{en}</seg></tuv></tu>'
                for zh, en in pairs
            )
            (folder / "train.tmx").write_text(f"<tmx><body>{units}</body></tmx>", encoding="utf-8")
        case _:
            write(folder, kind, rows)
    return folder


@pytest.mark.parametrize("kind", ["tsv", "named", "parquet", "translation", "arrow", "stream", "data_set", "tmx"])
def test_every_format_holds_the_same_pairs(kind: str, tmp_path: Path) -> None:
    pairs = [(zh.replace("\u2028", " "), en) for zh, en in PAIRS]
    folder, plain = written(tmp_path / "other", kind, pairs), written(tmp_path / "plain", "plain", pairs)
    files, expected = (read_parallel(place, stem="train", src="zh", tgt="en") for place in (folder, plain))
    assert isinstance(files, ParallelRows)
    assert list(files) == list(expected)
    assert list(files.swapped()) == [(number, en, zh) for number, zh, en in expected]
    scan = files.scan()
    assert scan.lines == 4
    assert scan.stamps
    assert scan.digest == expected.scan().digest  # so that text that is encoded already is not encoded anew
    tokenizer = Tokenizer.train([text for pair in pairs for text in pair], TokenizerConfig())
    own: Any = {"src": tokenizer, "tgt": tokenizer, "config": DataConfig()}
    report = prepare(files, **own, cache_dir=tmp_path / "cache").report
    assert report == prepare(expected, **own, cache_dir=tmp_path / "more").report
    assert report.dropped == {"empty": 1, "duplicate": 1}


def test_line_breaks_in_a_cell_are_spaces_and_nothing_is_empty(tmp_path: Path) -> None:
    write(tmp_path, "parquet", [{"zh": "一\n二\r\n三", "en": None}])
    assert list(pair_rows(tmp_path / "train.parquet", "zh", "en")) == [("一 二 三", "")]


def test_two_of_one_split_are_an_error_whatever_they_are(tmp_path: Path) -> None:
    folder = written(tmp_path / "data", "tsv")
    (folder / "train.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"train.tsv.gz and train.parquet both exist: keep one of them"):
        read_parallel(folder, stem="train", src="zh", tgt="en")
    (folder / "train.zh").write_text("我\n", encoding="utf-8")
    (folder / "train.parquet").unlink()
    with pytest.raises(DataError, match=r"train.tsv.gz and train.zh both exist: keep one of them"):
        read_parallel(folder, stem="train", src="zh", tgt="en")
    (folder / "train.tsv.gz").unlink()
    with pytest.raises(DataError, match=r"train.en: no such file"):
        read_parallel(folder, stem="train", src="zh", tgt="en")
    with pytest.raises(DataError, match=r"valid.zh: no such file"):
        read_parallel(folder, stem="valid", src="zh", tgt="en")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "Source\ttarget\na\tb\n",
            r"train.tsv line 1: its columns are called Source and target; call them zh and en, or ",
        ),
        ("a\tb\nc\n", r"train.tsv line 2: 1 columns, must be source<TAB>target$"),
        (
            "a\tb\tc\n",
            r"line 1: 3 columns, must be source<TAB>target, or a first line that names the columns zh and en",
        ),
        ("zh\ten\tx\na\tb\tc\nd\te\n", r"line 3: 2 columns, must be 3, as the first line has"),
        ("a\tb\n\xff\t\n", r"line 2: not UTF-8 \(byte 1 of the line\)"),
        ("zh\ten\n", r"train.tsv has no rows"),
        ("", r"train.tsv has no rows"),
    ],
)
def test_a_line_of_other_columns_is_refused(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=said):
        read_parallel(tmp_path, stem="train", src="zh", tgt="en").scan()


def test_columns_that_are_missing_are_told_with_those_there_are(tmp_path: Path) -> None:
    write(tmp_path, "parquet", [{"zh_CN": "我", "en": "I"}])
    with pytest.raises(DataError, match=r"train.parquet: column 'zh' is missing; did you mean 'zh_CN'"):
        list(pair_rows(tmp_path / "train.parquet", "zh", "en"))
    write(tmp_path, "parquet", [{"zh": "我", "en": 3}])
    with pytest.raises(DataError, match=r"row 1: column 'en' is not text, it has int"):
        list(pair_rows(tmp_path / "train.parquet", "zh", "en"))
    write(tmp_path, "parquet", [{"translation": {"en": "I"}}])
    with pytest.raises(DataError, match=r"row 1: translation has no 'zh'; known: en"):
        list(pair_rows(tmp_path / "train.parquet", "zh", "en"))


def test_real_text_is_the_same_in_a_table(shared_data: Path, tmp_path: Path) -> None:
    files = read_parallel(shared_data / "multi30k-en-de", stem="val", src="en", tgt="de")
    table = pa.Table.from_pylist([{"en": en, "de": de} for _, en, de in files])
    parquet.write_table(table, tmp_path / "train.parquet")
    out = io.BytesIO()
    for _, en, de in files:
        out.write(f"{en}\t{de}\n".encode())
    (tmp_path / "tsv").mkdir()
    (tmp_path / "tsv" / "train.tsv").write_bytes(out.getvalue())
    digest = files.scan().digest
    for folder in (tmp_path, tmp_path / "tsv"):
        assert read_parallel(folder, stem="train", src="en", tgt="de").scan().digest == digest
