"""Each filter drops what it says and no more, and the report counts every line."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.data.corpora.filters import FilterConfig, LineFilter, identifier, reading
from clearhead.data.corpus import DataConfig, PairFilter, ParallelFiles, read_parallel
from clearhead.data.store import prepare
from clearhead.errors import UsageError
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

PAIRS = [
    ("我喝水。", "I drink water."),
    ("我喝水！", "I  DRINK water"),
    ("我喝水。", "I drink water."),
    ("OK", "ok."),
    ("I drink tea.", "I drink tea!"),
    ("他们在学校里看书。", "他们在学校里看书。"),
    ("她吃苹果。", "Она ест яблоко."),
    ("她吃苹果。", "Peter isst heute einen roten Apfel im Garten ihrer Mutter."),
    ("123", "456"),
]


def drop(tmp_path: Path, pairs: list[tuple[str, str]] = PAIRS, **filters: Any) -> dict[int, str]:
    """Returns the reasons of the lines that are dropped."""
    for side, name in enumerate(("train.zh", "train.en")):
        (tmp_path / name).write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    files = read_parallel(tmp_path, stem="train", src="zh", tgt="en")
    tokenizer = Tokenizer.train([text for pair in pairs for text in pair], TokenizerConfig(kind="char"))
    config = DataConfig(filters=FilterConfig(**filters), drop_duplicates=filters.pop("exact", False))
    judge = PairFilter(config, files=files, src=tokenizer, tgt=tokenizer)
    kept = [pair.line for pair in judge(list(files))]
    report = judge.finish()
    reasons = {line: reason for reason, lines in report.examples.items() for line in lines}
    assert report.read == report.kept + sum(report.dropped.values()) == len(pairs)
    assert sorted([*kept, *reasons]) == list(range(1, len(pairs) + 1))
    for side in (report.src, report.tgt):
        assert side.tokens_in == side.tokens_used + side.tokens_dropped
    return reasons


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, {}),
        ({"near_duplicates": True}, {2: "near_duplicate", 3: "near_duplicate"}),
        ({"copies": True}, {4: "copy", 5: "copy", 6: "copy"}),
        ({"min_len": 3}, {4: "too_short"}),
        ({"script": 0.5}, {4: "script", 5: "script", 6: "script", 7: "script"}),
        ({"copies": True, "script": 0.5, "min_len": 3}, {4: "too_short", 5: "copy", 6: "copy", 7: "script"}),
    ],
)
def test_each_drops_what_it_says(filters: dict[str, Any], expected: dict[int, str], tmp_path: Path) -> None:
    assert drop(tmp_path, **filters) == expected


def test_exact_duplicates_are_called_so(tmp_path: Path) -> None:
    """Whichever filter would drop them too; across the chunks that lines come in."""
    for side, name in enumerate(("train.zh", "train.en")):
        (tmp_path / name).write_text("".join(pair[side] + "\n" for pair in PAIRS), encoding="utf-8")
    files = ParallelFiles(tmp_path / "train.zh", tmp_path / "train.en", ("zh", "en"))
    tokenizer = Tokenizer.train(["我 I"], TokenizerConfig())
    config = DataConfig(filters=FilterConfig(near_duplicates=True))
    judge = PairFilter(config, files=files, src=tokenizer, tgt=tokenizer)
    for line in files:
        judge([line])
    assert judge.finish().dropped == {"near_duplicate": 1, "duplicate": 1}


def test_another_language_is_told_from_the_right_one(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    reasons = drop(tmp_path, language=0.05)
    assert set(reasons.values()) == {"language"}
    assert {5, 6, 7, 8} <= set(reasons) <= {2, 5, 6, 7, 8}
    with pytest.raises(UsageError, match=r"data.filters.language: 'tlh' is not identified"):
        LineFilter(FilterConfig(language=0.5), ("zh", "tlh"))


def test_real_lines_pass(shared_data: Path) -> None:
    """Of real text hardly a line is taken for another language or script; of the wrong side nearly all are."""
    pytest.importorskip("py3langid")
    config = FilterConfig(script=0.5, language=0.05)
    for folder, stem, languages in (
        ("multi30k-en-de", "val", ("en", "de")),
        ("tatoeba-zh-en", "valid", ("zh", "en")),
    ):
        files = read_parallel(shared_data / folder, stem=stem, src=languages[0], tgt=languages[1])
        lines = list(files)[:500]
        right, wrong = LineFilter(config, languages), LineFilter(config, languages[::-1])
        assert sum(bool(right(src, tgt, 9, 9)) for _, src, tgt in lines) <= 0.01 * len(lines)
        assert sum(bool(wrong(src, tgt, 9, 9)) for _, src, tgt in lines) >= 0.99 * len(lines)


def test_what_a_filter_cannot_know_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"data.filters.script: the script of 'xx' is not known"):
        LineFilter(FilterConfig(script=0.5), ("xx", "en"))
    LineFilter(FilterConfig(min_len=3), ("xx", ""))
    identifier.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "py3langid.langid", None)
    with pytest.raises(UsageError, match=r"pip install 'clearhead\[language\]'"):
        LineFilter(FilterConfig(language=0.5), ("zh", "en"))
    identifier.cache_clear()


def test_lines_that_read_alike_have_one_reading() -> None:
    assert reading("Ｈéllo,  World!") == reading("héllo world") != reading("hello world")
    assert reading("...") == "..."
    assert reading("Straße 12") == reading("STRASSE 12.") != reading("Straße 13")


def test_encoded_text_is_of_its_filters(tmp_path: Path) -> None:
    """And without any filter it is the text that was encoded before there were filters."""
    drop(tmp_path)
    files = read_parallel(tmp_path, stem="train", src="zh", tgt="en")
    tokenizer = Tokenizer.train(["我 I"], TokenizerConfig())
    counts = [
        len(
            prepare(
                files,
                src=tokenizer,
                tgt=tokenizer,
                config=DataConfig(filters=filters),
                cache_dir=tmp_path / "cache",
            )
        )
        for filters in (FilterConfig(), FilterConfig(copies=True), FilterConfig())
    ]
    assert counts == [8, 5, 8]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert FilterConfig().key == []
