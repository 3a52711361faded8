"""Rows of tables are those that were written, whoever wrote them, and a table is read a batch at a time."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import ipc, parquet

from clearhead.data.documents import DocumentsConfig, read_documents
from clearhead.data.formats.tables import column_names, is_table, json_lines, table_files, table_rows
from clearhead.data.labels.labelled import LabelledConfig, read_labelled
from clearhead.errors import DataError, UsageError

ROWS: list[dict[str, Any]] = [
    {"text": f"text {number} 中文\n", "label": number % 2, "n": None} for number in range(3000)
]


def write(folder: Path, kind: str, rows: list[dict[str, Any]] = ROWS, stem: str = "train") -> Path:
    """Writes rows in one of the formats; ``data_set`` as ``Dataset.save_to_disk`` does, in two files."""
    table = pa.Table.from_pylist(rows)
    folder.mkdir(exist_ok=True)
    if kind == "parquet":
        parquet.write_table(table, folder / f"{stem}.parquet", row_group_size=700)
        return folder / f"{stem}.parquet"
    if kind == "data_set":
        place = folder / stem
        place.mkdir()
        names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
        half = len(rows) // 2
        for name, part in zip(names, (table.slice(0, half), table.slice(half)), strict=True):
            with ipc.new_stream(str(place / name), table.schema) as writer:
                writer.write_table(part)
        state = {"_data_files": [{"filename": name} for name in names], "_indices_files": None, "_split": None}
        (place / "state.json").write_text(json.dumps(state))
        (place / "dataset_info.json").write_text("{}")
        return place
    make = ipc.new_file if kind == "arrow" else ipc.new_stream
    with make(str(folder / f"{stem}.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=2500)
    return folder / f"{stem}.arrow"


KINDS = ["parquet", "arrow", "stream", "data_set"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_come_back(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind)
    assert is_table(path)
    assert list(table_rows(path)) == ROWS
    assert list(table_rows(path, ["label"])) == [{"label": row["label"]} for row in ROWS]
    assert column_names(path) == ["text", "label", "n"]
    assert [json.loads(line) for line in json_lines(path)] == ROWS
    assert len(table_files(path)) == (2 if kind == "data_set" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_language_model_reads_the_column_of_its_text(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind)
    write(tmp_path, kind, ROWS[:10], stem="valid")
    config = DocumentsConfig()
    for split, rows in (("train", ROWS), ("valid", ROWS[:10])):
        documents = read_documents(tmp_path, split=split, config=config)  # type: ignore[arg-type]
        assert list(documents) == [row["text"] for row in rows]
    with pytest.raises(DataError, match=r"line 1: field 'body' is missing; known: label, n, text"):
        list(read_documents(tmp_path, split="train", config=DocumentsConfig(text_field="body")))


@pytest.mark.parametrize("kind", KINDS)
def test_held_out_text_is_the_rest(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, kind)
    data = tmp_path if kind == "data_set" else path
    parts = [list(read_documents(data, split=split, config=DocumentsConfig())) for split in ("train", "valid")]  # type: ignore[arg-type]
    assert parts[0] + parts[1] == [row["text"] for row in ROWS]
    assert len(parts[1]) == pytest.approx(300, abs=10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classifier_reads_text_and_label(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind)
    read = read_labelled(tmp_path, split="train", config=LabelledConfig(valid_fraction=0.0))
    assert read.classes == ("0", "1")
    assert [(line.text, line.label) for line in read.lines] == [(row["text"], str(row["label"])) for row in ROWS]
    with pytest.raises(DataError, match=r"field 'Label' is missing; did you mean 'label'\?"):
        read_labelled(tmp_path, split="train", config=LabelledConfig(valid_fraction=0.0, label_field="Label"))


def test_what_is_wrong_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "parquet", ROWS[:9])
    path.write_bytes(path.read_bytes()[:-30])
    for read in (lambda: list(table_rows(path)), lambda: column_names(path)):
        with pytest.raises(DataError, match=r"train.parquet cannot be read: "):
            read()
    (tmp_path / "x.arrow").write_bytes(b"no table")
    with pytest.raises(DataError, match=r"x.arrow cannot be read: "):
        list(table_rows(tmp_path / "x.arrow"))
    place = write(tmp_path, "data_set", ROWS[:9], stem="saved")
    state = json.loads((place / "state.json").read_text())
    (place / "state.json").write_text(json.dumps({**state, "_indices_files": [{"filename": "indices.arrow"}]}))
    with pytest.raises(DataError, match="a selection of its files; save it anew after flatten_indices"):
        list(table_rows(place))
    (place / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../x.arrow"}]}))
    with pytest.raises(DataError, match=r"names '../x.arrow', which is not in the folder"):
        list(table_rows(place))
    (place / "state.json").write_text("[]")
    with pytest.raises(DataError, match="is not as Hugging Face's datasets writes it"):
        list(table_rows(place))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"Parquet and Arrow take `pip install 'clearhead\[arrow\]'`"):
        list(table_rows(tmp_path / "x.arrow"))
