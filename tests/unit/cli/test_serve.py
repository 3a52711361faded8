"""``clearhead serve``: what it needs, and one line about what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from tests.toy import assert_one_line, clearhead


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--dialects", "deeppl"], 2, "--dialects 'deeppl': 'deeppl' must be one of openai, libretranslate, deepl"),
        (["--api-key", "none.txt"], 2, "--api-key 'none.txt': No such file or directory"),
        (["--host", "0.0.0.0"], 2, "--host 0.0.0.0: others than this machine could ask"),
        (["--port", "70000"], 2, "70000 is not in the range"),
    ],
)
def test_a_wrong_option_is_one_line(words: list[str], code: int, said: str, toy_run: Path, capsys: Any) -> None:
    assert_one_line(clearhead(capsys, "serve", toy_run, *words), code, said)


def test_a_run_that_is_none_is_one_line(tmp_path: Path, capsys: Any) -> None:
    assert_one_line(clearhead(capsys, "serve", tmp_path / "nothing"), 4, "no such directory")


def test_without_its_libraries_it_says_what_to_install(
    toy_run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearhead.cli.serve.NEEDED", ("starlette", "no_such_library"))
    said = clearhead(capsys, "serve", toy_run)
    assert_one_line(said, 2, "serve needs no_such_library: pip install 'clearhead[serve]'")


def test_a_model_without_a_dialect_names_its_verb(toy_classifier: Path, capsys: Any) -> None:
    said = clearhead(capsys, "serve", toy_classifier, "--no-page")
    assert_one_line(said, 2, "clearhead classify is the verb for it")
