"""The command itself: help, nearest verb, one line for every error, its language, exit codes, completion, pipes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearhead import __version__
from clearhead.cli import doctor, main
from clearhead.errors import ClearheadError, DataError, ModelError, UsageError
from tests.toy import clearhead, environment

# runs the command, then prints which of some modules are loaded
LOADED = """
import sys
from clearhead.cli.main import main
try:
    main()
except SystemExit:
    print([name for name in "{names}".split() if name in sys.modules])
"""


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--help"], ["-h"], []):
        said = clearhead(capsys, *words)
        text = said.out + said.err
        assert text.startswith("Usage: clearhead"), words
        assert [verb for verb in main.VERBS if f"\n  {verb} " not in text] == []
    assert clearhead(capsys, "--version").out == f"clearhead {__version__}\n"


@pytest.mark.parametrize("verb", list(main.VERBS))
def test_every_verb_has_its_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, verb, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: clearhead {verb}")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["trian"], ["no verb 'trian'; did you mean 'train'?", "(see clearhead --help)"]),
        (["xyz"], ["no verb 'xyz'; known: average, "]),
        (["translate"], ["Missing argument 'RUN'", "(see clearhead translate --help)"]),
        (["train", "demo", "--resme"], ["--resme", "--resume"]),
        (["doctor", "extra"], ["unexpected extra argument"]),
    ],
)
def test_usage(words: list[str], parts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, *words)
    assert (said.code, said.err.count("\n"), said.out) == (2, 1, "")
    assert all(part in said.err for part in parts), said


@pytest.mark.parametrize(
    ("error", "code", "expected"),
    [
        (UsageError("a"), 2, "clearhead: a\n"),
        (DataError("b\n  c"), 3, "clearhead: b c\n"),
        (ModelError("d"), 4, "clearhead: d\n"),
        (ClearheadError("e"), 1, "clearhead: e\n"),
        (ZeroDivisionError("f"), 1, "clearhead: ZeroDivisionError: f (unexpected; --debug shows where)\n"),
        (KeyboardInterrupt(), 130, "clearhead: interrupted\n"),
    ],
)
def test_an_error_is_one_line_and_debug_raises_it(
    error: BaseException, code: int, expected: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(doctor.command, "callback", lambda as_json: fail())
    said = clearhead(capsys, "doctor")
    # click breaks the terminal's line, where ^C stands, before an interruption
    assert (said.code, said.out, said.err.lstrip("\n")) == (code, "", expected)
    if isinstance(error, Exception):
        with pytest.raises(type(error)):
            main.main(["doctor", "--debug"])


@pytest.mark.parametrize(
    ("words", "code", "english", "chinese"),
    [
        (
            ["train", "demo", "--set", "modle.d_model=3"],
            2,
            "recipe 'demo': unknown key 'modle'; did you mean 'model'?",
            "配方 'demo'：未知的键 'modle'；是不是指 'model'？",
        ),
        (
            ["train", "demo", "--data", ".", "--src", "zh", "--tgt", "en"],
            3,
            "train.zh has 2 lines but train.en has 1: line N of one must translate line N of the other",
            "train.zh 有 2 行，而 train.en 有 1 行：一个文件的第 N 行必须是另一个文件第 N 行的译文",
        ),
        (
            ["translate", ".", "x"],
            4,
            "run '.' is not a run directory: it has no recipe.toml",
            "'.' 不是运行目录：其中没有 recipe.toml",
        ),
        (
            ["translate"],
            2,
            "Missing argument 'RUN'. (see clearhead translate --help)",
            "缺少参数 'RUN'（参见 clearhead translate --help）",
        ),
    ],
)
def test_an_error_speaks_the_users_language(
    words: list[str],
    code: int,
    english: str,
    chinese: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "train.zh").write_text("一\n二\n", encoding="utf-8")
    (tmp_path / "train.en").write_text("one\n", encoding="utf-8")
    for stem in ("valid.zh", "valid.en"):
        (tmp_path / stem).write_text("one\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for language, line in (("C", english), ("zh_CN.UTF-8", chinese)):
        monkeypatch.setenv("LANG", language)
        assert clearhead(capsys, *words) == (code, "", f"clearhead: {line}\n")


def test_help_reads_the_catalogue_for_chinese_only() -> None:
    ask = "from clearhead import messages; import sys; print(messages._templates.cache_info().currsize)"
    run = "try:\n    import clearhead.__main__ as m; m.main()\nfinally:\n    "
    code = f"import sys; sys.argv[1:] = ['--help']\n{run}{ask}"
    for language, read in (("en_US.UTF-8", "0"), ("zh_CN.UTF-8", "1")):
        env = environment() | {"LANG": language}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
        assert done.stdout.splitlines()[-1] == read, done


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("clearhead tr", "train translate trace"),
        ("clearhead translate --al", "--alternatives --alignment"),
        ("clearhead translate --overlong ", "split truncate error"),
    ],
)
def test_words_complete_without_torch(line: str, offered: str) -> None:
    env = environment() | {
        "_CLEARHEAD_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    code = LOADED.format(names="torch numpy pydantic")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    *found, heavy = done.stdout.splitlines()
    assert [word.removeprefix("plain,") for word in found] == offered.split()
    assert heavy == "[]"


def documented(shell: str) -> str:
    """Returns the line of the documentation that switches completion on."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "cli.md").read_text(encoding="utf-8")
    (line,) = [line for line in page.splitlines() if f"_CLEARHEAD_COMPLETE={shell}_source clearhead" in line]
    return line


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed here")
def test_the_documented_line_makes_bash_complete() -> None:
    ask = 'COMP_WORDS=(clearhead tra) COMP_CWORD=1; _clearhead_completion clearhead; echo "${COMPREPLY[@]}"'
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ["bash", "-c", f"{documented('bash')}\n{ask}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment() | {"PATH": path})
    assert (done.stdout, done.stderr) == ("train translate trace\n", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_their_script(shell: str) -> None:
    assert documented(shell)
    env = environment() | {"_CLEARHEAD_COMPLETE": f"{shell}_source"}
    command = [sys.executable, "-m", "clearhead"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert f"_CLEARHEAD_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.long
def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "translate", "nowhere", "x")
    assert said == (4, "", "clearhead: run 'nowhere': no such directory\n")
    command = [sys.executable, "-m", "clearhead", "translate", "nowhere", "--debug", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "ModelError: run 'nowhere'" in done.stderr


@pytest.mark.long
def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "clearhead", "presets"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, env=environment())
    os.close(writer)
    assert done.stderr == b""


@pytest.mark.parametrize("verb", ["train", "translate", "evaluate", "trace", "average"])
def test_examples_in_the_help_keep_their_lines(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, verb, "--help")
    assert "\\b" not in said.out
    assert re.search(rf"^  clearhead {verb} ", said.out, re.MULTILINE)
