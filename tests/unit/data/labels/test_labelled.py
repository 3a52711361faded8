"""Labelled lines of TSV, CSV and JSONL: what is found, what it holds, how it is divided, and what is refused."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearhead.config import parse
from clearhead.data.labels.labelled import LabelledConfig, LabelledText, read_labelled, stratified_folds
from clearhead.data.labels.labels import Labels
from clearhead.errors import DataError, UsageError


def write(folder: Path, **files: bytes | str) -> Path:
    """Writes ``train_tsv`` as train.tsv, and so on."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(data)
    return folder


def read(data: Path, split: Any = "train", train: LabelledText | None = None, **config: Any) -> LabelledText:
    known, settings = train and train.made_of, LabelledConfig(**{"valid_fraction": 0.0, **config})
    return read_labelled(data, split=split, config=settings, train=known)


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = [("no", "a, “b”", "1"), ("yes", "c d", "2"), ("no", "e", "3")]
FILES = {
    "train_tsv": "no\ta, “b”\nyes\tc d\r\n\n no \te",
    "train_csv": 'id,label,text\n1,no,"a, “b”"\n2,yes,c d\n\n3,no,e\n',
    "train_jsonl": jsonl({"label": "no", "text": "a, “b”"}, {"label": "yes", "text": "c d"}) + " \n"
    '{"text": "e", "label": "no", "more": [1]}',
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_the_three_formats_hold_the_same(tmp_path: Path, name: str, packed: bool) -> None:
    content = b"\xef\xbb\xbf" + FILES[name].encode()
    write(tmp_path, **{name + "_gz" * packed: gzip.compress(content) if packed else content})
    text = read(tmp_path)
    assert [(line.label, line.text) for line in text.lines] == [row[:2] for row in ROWS]
    assert text.classes == ("no", "yes")
    assert text.labels.tolist() == [0, 1, 0]
    assert text.counts == {"no": 2, "yes": 1}
    assert (len(text), text.blank, text.pairs) == (3, 1, False)
    assert text.lines[2].where == f"{tmp_path / text.file} line {5 if 'csv' in name else 4}"
    assert text.digest == read(write(tmp_path / "other", train_tsv=FILES["train_tsv"])).digest
    assert text.digest != read(write(tmp_path / "other", train_tsv=FILES["train_tsv"] + "f")).digest
    assert text.digest != text.subset([0, 1]).digest


PAIRS = {
    "train_tsv": "no\ta\tb\nyes\tc\td\n",
    "train_csv": "first,second,answer\na,b,no\nc,d,yes\n",
    "train_jsonl": jsonl({"first": "a", "second": "b", "answer": "no"}, {"first": "c", "second": "d", "answer": "yes"}),
}
NAMES = {"label_field": "answer", "text_field": "first", "pair_field": "second"}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_and_other_names(tmp_path: Path, name: str) -> None:
    text = read(write(tmp_path, **{name: PAIRS[name]}), **NAMES)
    assert [line[1:] for line in text.lines] == [("no", "a", "b"), ("yes", "c", "d")]
    assert text.pairs


def test_a_csv_text_may_have_several_lines(tmp_path: Path) -> None:
    text = read(write(tmp_path, train_csv='label,text\nno,"a\nb ""c"""\nyes,d\n'))
    assert [line.text for line in text.lines] == ['a\nb "c"', "d"]
    assert [line.where.rpartition(" ")[2] for line in text.lines] == ["2", "4"]


def test_numbers(tmp_path: Path) -> None:
    data = write(tmp_path, train_jsonl=jsonl({"label": 1, "text": "a"}, {"label": "-2.5e1", "text": "b"}))
    text = read(data, kind="number")
    assert text.labels.tolist() == [1.0, -25.0]
    assert text.labels.dtype == np.float64
    assert (text.classes, text.counts) == ((), {})
    assert read(data).classes == ("-2.5e1", "1"), "as classes they are words"
    write(tmp_path, valid_tsv="nan\ta")
    with pytest.raises(
        DataError, match=r"valid\.tsv line 1: label 'nan' is not a number, as data\.kind = 'number' requires"
    ):
        read(data, "valid", kind="number", train=text)


def test_other_splits_have_the_classes_of_training(tmp_path: Path) -> None:
    write(tmp_path, train_tsv="b\tx\na\ty\nc\tz\n", valid_tsv="c\tx\n\nc\ty", test_tsv="a\tx\nd\ty")
    train = read(tmp_path)
    valid = read(tmp_path, "valid", train=train)
    assert valid.classes == ("a", "b", "c")
    assert valid.labels.tolist() == [2, 2]
    assert valid.counts == {"a": 0, "b": 0, "c": 2}
    with pytest.raises(DataError, match=r"test\.tsv line 2: label 'd' is not in the training lines; known: a, b, c$"):
        read(tmp_path, "test", train=train)
    write(tmp_path, test_tsv="0.99\ty")
    numbers = Labels(tuple(f"0.{i}" for i in range(10, 40)), pairs=False)
    with pytest.raises(
        DataError, match=r"'0\.99' is not in the training lines; labels that are numbers need data\.kind"
    ):
        read_labelled(tmp_path, split="test", config=LabelledConfig(), train=numbers)
    write(tmp_path, test_tsv="a\tx\tx")
    with pytest.raises(DataError, match=r"test\.tsv line 1: two texts a line, but one in training$"):
        read(tmp_path, "test", train=train)


@pytest.mark.parametrize("place", ["", "all.tsv"])
def test_without_validation_lines_some_are_held_out(tmp_path: Path, place: str) -> None:
    text = "".join(f"{'yes' if i % 4 else 'no'}\t{i}\n" for i in range(200))
    data = write(tmp_path, **{"all_tsv" if place else "train_tsv": text}) / place
    parts = [read(data, split, valid_fraction=0.1) for split in ("train", "valid")]
    assert [len(part) for part in parts] == [180, 20]
    assert [part.counts["no"] for part in parts] == [45, 5]
    texts = [[line.text for line in part.lines] for part in parts]
    assert sorted(texts[0] + texts[1], key=int) == [str(i) for i in range(200)]
    assert texts[1] == sorted(texts[1], key=int) != [str(i) for i in range(180, 200)]
    assert [line.text for line in read(data, "valid", valid_fraction=0.1).lines] == texts[1]


@given(labels=st.lists(st.integers(0, 4), min_size=2, max_size=60), k=st.integers(2, 10), seed=st.integers(0, 2**32))
def test_folds_are_alike(labels: list[int], k: int, seed: int) -> None:
    k = min(k, len(labels))
    folds = stratified_folds(np.array(labels), k=k, seed=seed)
    assert np.array_equal(folds, stratified_folds(np.array(labels), k=k, seed=seed))
    for kept in [range(5), *([label] for label in range(5))]:
        sizes = Counter(fold for fold, label in zip(folds.tolist(), labels, strict=True) if label in kept)
        counts = [sizes[fold] for fold in range(k)]
        assert max(counts) - min(counts) <= 1


def test_folds_of_numbers_and_of_other_seeds() -> None:
    values = np.random.default_rng(0).permutation(100).astype(np.float64)
    folds = stratified_folds(values, k=10, seed=1)
    for block in range(10):
        assert sorted(folds[(values >= block * 10) & (values < block * 10 + 10)].tolist()) == list(range(10))
    means = [values[folds == fold].mean() for fold in range(10)]
    assert max(means) - min(means) < 6, "no fold has the smallest of every ten"
    assert folds.tolist() != stratified_folds(values, k=10, seed=2).tolist()
    for k in (1, 101):
        with pytest.raises(UsageError, match=rf"k = {k}: must be from 2 to the number of lines, 100"):
            stratified_folds(values, k=k, seed=0)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train_tsv": ""}, r"train\.tsv is empty$"),
        ({"train_tsv": " \n\n"}, r"train\.tsv has only blank lines$"),
        ({"train_csv": "label,text\n"}, r"train\.csv has only blank lines$"),
        ({"train_tsv": b"a\tok\nb\t\xff\n"}, r"train\.tsv line 2: not UTF-8 \(byte 3 of the line\)$"),
        ({"train_tsv": "a\tok\nb\0\tx\n"}, r"train\.tsv line 2: has a NUL byte"),
        ({"train_tsv_gz": b"no gzip"}, r"train\.tsv\.gz cannot be read: Not a gzipped file"),
        (
            {"train_tsv": "a\tok\nb ok\n"},
            r"train\.tsv line 2: 1 columns, must be label<TAB>text or label",
        ),
        ({"train_tsv": "a\tb\tc\td"}, r"train\.tsv line 1: 4 columns, must be"),
        ({"train_tsv": "a\tx\n \ty"}, r"train\.tsv line 2: the label is empty$"),
        ({"train_tsv": "a\tx\nb\t "}, r"train\.tsv line 2: the text is empty$"),
        ({"train_tsv": "a\tx\ty\nb\tx\t"}, r"train\.tsv line 2: the text is empty$"),
        ({"train_tsv": "a\tx\nb\ty\tz"}, r"train\.tsv line 2: two texts, but one in the lines before$"),
        ({"train_tsv": "a\tx\ty\nb\ty"}, r"train\.tsv line 2: one text, but two in the lines before$"),
        ({"train_tsv": "a\tx\na\ty"}, r"train\.tsv: every line has the label 'a', at least two classes are needed$"),
        (
            {"train_csv": "labels,text\na,b\n"},
            r"train\.csv line 1: column 'label' is missing; did you mean 'labels'",
        ),
        ({"train_csv": "label,txt\na,b\n"}, r"train\.csv line 1: column 'text' is missing; did you mean 'txt'\?$"),
        ({"train_csv": "label,text\na,b\n\nb,c,d\n"}, r"train\.csv line 4: 3 columns, the first line names 2$"),
        ({"train_csv": 'label,text\na,"b'}, r"train\.csv line 2: not CSV \(unexpected end of data\)$"),
        ({"train_jsonl": '{"label": "a"}'}, r"train\.jsonl line 1: field 'text' is missing; known: label$"),
        ({"train_jsonl": '{"text": "a"}'}, r"train\.jsonl line 1: field 'label' is missing"),
        ({"train_jsonl": '{"text": "a", "label": true}'}, r"train\.jsonl line 1: field 'label' is not a string$"),
        ({"train_jsonl": "{}\n{"}, r"train\.jsonl line 1: field 'label' is missing$"),
        ({"train_jsonl": '{"text": "a", "label": "b"}\n{'}, r"train\.jsonl line 2: not JSON"),
        ({"train_tsv": "a\tx", "train_csv": "x"}, r"train\.tsv and train\.csv both exist: keep one of them$"),
        (
            {"trian_tsv": "a\tx"},
            r"has no train split: add train\.tsv, train\.csv or train\.jsonl \(each plain or .*; did you mean 'trian",
        ),
    ],
)
def test_what_cannot_be_used_is_one_line(tmp_path: Path, files: dict[str, bytes | str], words: str) -> None:
    with pytest.raises(DataError, match=words) as e:
        read(write(tmp_path, **files))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("place", "split", "words"),
    [
        ("trian.tsv", "train", r"trian\.tsv' does not exist; did you mean 'train\.tsv'\?$"),
        (
            "notes.txt",
            "train",
            r"must end in \.tsv, \.tsv\.gz, \.csv, \.csv\.gz, \.jsonl, \.jsonl\.gz, \.parquet or \.arrow$",
        ),
        (
            "",
            "valid",
            r"has no valid split: add valid\.tsv, .*, or set data\.valid_fraction = 0\.1; did you mean 'vaild",
        ),
        ("train.tsv", "test", r"has no test split: add test\.tsv, test\.csv or test\.jsonl \(each plain or \.gz\)$"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, place: str, split: str, words: str) -> None:
    write(tmp_path, train_tsv="a\tx\nb\ty", vaild_tsv="a\tx", notes_txt="x")
    with pytest.raises(DataError, match=words):
        read(tmp_path / place, split)


def test_one_line_cannot_be_divided(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.tsv: 1 lines, too few for data\.valid_fraction = 0\.1"):
        read(write(tmp_path, train_tsv="1\tx"), kind="number", valid_fraction=0.1)


def test_config_refuses() -> None:
    for tree in ({"valid_fraction": 0.6}, {"kind": "words"}, {"overlong": "drop"}, {"workers": -1}):
        with pytest.raises(UsageError, match=f"{next(iter(tree))} = "):
            parse(LabelledConfig, tree, source="recipe")


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize(
    ("name", "train", "valid", "classes", "pairs"),
    [
        ("sst2", 6916, 872, 2, False),
        ("cola", 8532, 1043, 2, False),
        ("ag-news", 4498, 500, 4, False),
        ("toutiao-titles", 14_833, 979, 15, False),
        ("sick", 4440, 495, 3, True),
    ],
)
def test_real_sets(shared_data: Path, name: str, train: int, valid: int, classes: int, pairs: bool) -> None:
    text = read(shared_data / name)
    held_out = read(shared_data / name, "valid", train=text)
    assert (len(text), len(held_out), len(text.classes), text.pairs) == (train, valid, classes, pairs)
    assert sum(text.counts.values()) == train


def test_folds_take_the_place_of_the_validation_lines(tmp_path: Path) -> None:
    lines = [f"{'ab'[number % 2]}\t{number}\n" for number in range(20)]
    data = write(tmp_path, train_tsv="".join(lines), valid_tsv="a\tv\n", test_tsv="a\tt\nb\tu\n")
    seen: list[str] = []
    for fold in range(4):
        train, valid = (read(data, split, folds=4, fold=fold) for split in ("train", "valid"))
        assert sorted([line.text for line in (*train.lines, *valid.lines)], key=int) == [str(n) for n in range(20)]
        assert sorted(valid.counts.values()) == [2, 3]
        seen += [line.text for line in valid.lines]
    assert sorted(seen, key=int) == [str(number) for number in range(20)], "each line is held out once"
    assert [line.text for line in read(data, "test", folds=4).lines] == ["t", "u"]
    with pytest.raises(DataError, match=r"train\.tsv: 20 lines, too few for data\.folds = 21"):
        read(data, folds=21)


def test_what_the_other_splits_must_be_made_of(tmp_path: Path) -> None:
    data = write(tmp_path, train_tsv="1\ta\tb\n3\tc\td\n")
    assert read(data, kind="number").made_of == Labels((), True, 2.0, 1.0)
    assert read(data).made_of == Labels(("1", "3"), True)


def test_a_csv_field_may_be_as_long_as_a_book(tmp_path: Path) -> None:
    book = "a word " * 40_000
    text = read(write(tmp_path, train_csv=f'label,text\nno,"{book}"\nyes,b\n'))
    assert text.lines[0].text == book


def test_a_class_of_one_line_stays_in_training(tmp_path: Path) -> None:
    lines = [f"{'yes' if i % 2 else 'no'}\t{i}" for i in range(40)]
    data = write(tmp_path, train_tsv="\n".join([*lines, *(f"rare{i}\tx" for i in range(6))]))
    train, valid = (read(data, split, valid_fraction=0.5) for split in ("train", "valid"))
    rare = {f"rare{i}" for i in range(6)}
    assert {line.label for line in train.lines} == {"yes", "no"} | rare
    assert {line.label for line in valid.lines} == {"yes", "no"}
    assert len(train) + len(valid) == 46
    assert len(valid) == pytest.approx(20, abs=2)


def test_a_fold_that_would_leave_a_class_without_training_is_refused(tmp_path: Path) -> None:
    data = write(tmp_path, train_tsv="\n".join([*(f"{i % 2}\t{i}" for i in range(8)), "rare\tx"]))
    said = []
    for fold in range(3):
        for split in ("train", "valid"):
            try:
                read(data, split, folds=3, fold=fold)
            except DataError as error:
                said.append(str(error))
    rule = r"train\.tsv line 9: label 'rare': data\.fold = \d would hold out all 1 lines of it; data\.folds needs more"
    assert [bool(re.search(rule, line)) for line in said] == [True, True]


@pytest.mark.parametrize(
    ("files", "rule"),
    [
        ({"train_jsonl": '{"label": NaN, "text": "a"}'}, r"line 1: label nan is not a number$"),
        ({"train_jsonl": '{"label": -Infinity, "text": "a"}'}, r"line 1: label -inf is not a number$"),
        ({"train_tsv": "good\ta\nNaN\tb\nbad\tc"}, r"line 2: label 'NaN' marks a missing value: leave the line out"),
        ({"train_csv": "label,text\n0,a\n1,b\nnone,c"}, r"line 4: label 'none' marks a missing value"),
        ({"train_tsv": "1\ta\n0\tb\n1.0\tc"}, r"line 3: label '1\.0' is '1' of .*line 1 in another spelling: spell a"),
        ({"train_tsv": "e\u0301\ta\n0\tb\n\xe9\tc"}, r"line 3: label '.' is '..?' of .*line 1 in another spelling"),
        ({"train_tsv": "label\ttext\n0\ta\n1\tb"}, r"line 1: names columns, as a TSV file does not: delete it"),
        ({"train_tsv": "sentence\tlabel\na film\t0\n"}, r"line 1: names columns"),
        ({"train_tsv": "sentence1\tsentence2\tgold_label\na\tb\t0\n"}, r"line 1: names columns"),
        ({"train_tsv": "".join(f"text {i}\t{i % 2}\n" for i in range(61))}, r"61 different labels in 61 lines; is it"),
        ({"train_tsv": "".join(f"{i / 7}\ttext\n" for i in range(61))}, r"61 different labels .*need data\.kind = 'nu"),
        ({"train_csv": "label,text,text\nno,a,b\nyes,c,d"}, r"line 1: column 'text' is named twice$"),
        ({"train_csv": "label,text,label\nno,a,b\nyes,c,d"}, r"line 1: column 'label' is named twice$"),
        ({"train_csv": "label;text\nno;a\n"}, r"line 1: columns are separated by ';', must be separated by commas$"),
        ({"train_csv": "label\ttext\nno\ta\n"}, r"line 1: columns are separated by '\\t', must be"),
        ({"train_csv": f"no,{'a' * 50}\n"}, r"line 1: column .label. is missing; the first line must name the"),
        ({"train_jsonl": '{"label": "a", "text": "b", "text": "c"}'}, r"not JSON \(field 'text' is there twice\)$"),
    ],
)  # fmt: skip
def test_what_can_be_no_label_is_one_line(files: dict[str, str], rule: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rule) as caught:
        read(write(tmp_path, **files))
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_numbers_of_json_are_one_class_however_they_are_written(tmp_path: Path) -> None:
    rows = [{"label": label, "text": "a"} for label in (1, 0, 1.0, 0.5)]
    text = read(write(tmp_path, train_jsonl=jsonl(*rows), valid_jsonl=jsonl({"label": 1.0, "text": "b"})))
    assert (text.classes, text.counts) == (("0", "0.5", "1"), {"0": 1, "0.5": 1, "1": 2})
    assert read(tmp_path, "valid", train=text).labels.tolist() == [2]
    earlier = read_labelled(tmp_path, split="valid", config=LabelledConfig(), train=Labels(("0.0", "1.0"), pairs=False))
    assert earlier.labels.tolist() == [1], "as runs have it that were trained before"
    assert [line.label for line in read(tmp_path, kind="number").lines] == ["1", "0", "1.0", "0.5"]


def test_classes_that_only_look_like_missing_ones_are_classes(tmp_path: Path) -> None:
    """``nan`` is the code of a language, and nobody's business where other labels are words."""
    assert read(write(tmp_path, train_tsv="nan\ta\nzh\tb")).classes == ("nan", "zh")
    few = "".join(f"class{i}\ttext {i}\n" for i in range(9))
    assert len(read(write(tmp_path, train_tsv=few)).classes) == 9
    intents = "".join(f"class{i % 30}\ttext {i}\n" for i in range(60))
    assert len(read(write(tmp_path, train_tsv=intents)).classes) == 30


def test_fields_of_the_recipe_differ() -> None:
    with pytest.raises(UsageError, match="must differ, 'text' is there twice"):
        parse(LabelledConfig, {"label_field": "text"}, source="recipe")
