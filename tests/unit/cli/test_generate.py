"""``clearhead generate``: a text as it is written, a line for each of several, and what goes wrong on one line."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from clearhead.cli import generate
from clearhead.decode.sampling import SamplingConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import Generation, GenerationConfig
from clearhead.tasks.language_model.writer import TextModel
from clearhead.verbs.load import load_language_model
from tests.native import FAULT, NATIVE
from tests.toy import Said, assert_one_line, clearhead, environment, in_process

PROMPT = "我妹妹"


@pytest.fixture(scope="module")
def model(toy_lm_run: Path) -> LanguageModel:
    return LanguageModel.load(toy_lm_run)


def texts(model: LanguageModel, prompts: list[str], sampling: SamplingConfig, **settings: Any) -> list[str]:
    """What Python gives for the same, prompt first."""
    found = model.generate(prompts, GenerationConfig(**settings), sampling=sampling)
    return [one.prompt + one.text for one in found]


def from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str, *words: object
) -> Said:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode()), encoding="utf-8"))
    return clearhead(capsys, "generate", *words)


def test_a_text_is_its_prompt_and_what_follows(
    model: LanguageModel, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--temperature", "0.9", "--top-k", "20", "--top-p", "0.95", "--seed", "7", "--max-new", "60"]
    sampling = SamplingConfig(temperature=0.9, top_k=20, top_p=0.95, seed=7)
    for prompt in (PROMPT, "", "She "):
        (expected,) = texts(model, [prompt], sampling, max_new=60)
        assert clearhead(capsys, "generate", toy_lm_run, *words, prompt) == Said(0, f"{expected}\n", "")
    (stopped,) = texts(model, [PROMPT], sampling, max_new=60, stop=("。",))
    assert clearhead(capsys, "generate", toy_lm_run, *words, "--stop", "。", PROMPT) == Said(0, f"{stopped}\n", "")
    said = clearhead(capsys, "generate", toy_lm_run, *words, "--max-new", "3", "--stop", "never", PROMPT)
    assert said.err == f"clearhead: {PROMPT!r}: no stop string came within --max-new 3\n"


def test_every_option_reaches_the_model(
    model: LanguageModel, toy_lm_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    given = "--max-new 3 --min-length 2 --temperature 0.5 --top-k 4 --top-p 0.6 --min-p 0.1 --typical-p 0.7 "
    given += (
        "--repetition-penalty 1.1 --presence-penalty 0.2 --frequency-penalty -0.3 --no-repeat-ngram 8 --bad-word a "
    )
    given += "--bad-word b --stop c --seed 9 --n 2 --overlong error --draft-pieces 6 --cache int8"
    monkeypatch.setattr(
        TextModel,
        "generate_each",
        lambda self, prompts, *config, **settings: seen.update(settings, config=config) or [[] for _ in prompts],
    )
    draft = ["--draft", toy_lm_run, "--checkpoint", "step-00000050"]
    assert clearhead(capsys, "generate", toy_lm_run, *given.split(), *draft, "x").code == 0
    config = GenerationConfig(3, 2, 2, ("c",), ("a", "b"), "error", 0, 6, "int8")
    assert (seen["config"], seen["sampling"]) == (
        (config,),
        SamplingConfig(0.5, 4, 0.6, 0.1, 0.7, 1.1, 0.2, -0.3, 8, 9),
    )
    assert seen["draft"].step == 150
    assert clearhead(capsys, "generate", toy_lm_run, "--beam", 5, "x").code == 0
    assert (seen["config"], seen["sampling"]) == ((GenerationConfig(beam=5),), SamplingConfig())
    elsewhere = {
        "--draft",
        "--checkpoint",
        "--beam",
        "--json",
        "--device",
        "--weights",
        "--engine",
        "--input",
        "--output",
        "--lang",
    }
    options = {option.opts[0] for option in generate.command.params if isinstance(option, click.Option)}
    assert options == elsewhere | {word for word in given.split() if word.startswith("--")}


def test_several_texts_are_a_line_each(
    model: LanguageModel, toy_lm_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = texts(model, [PROMPT], SamplingConfig(), max_new=20, n=3)
    said = clearhead(capsys, "generate", toy_lm_run, "--max-new", "20", "--n", "3", PROMPT)
    assert said == Said(0, "".join(f"{text}\n" for text in expected), "")
    prompts = [PROMPT, "", "She"]
    expected = texts(model, prompts, SamplingConfig(temperature=0.0), max_new=20)
    words = [toy_lm_run, "--max-new", "20", "--temperature", "0"]
    for given in ([], ["-"]):
        said = from_stdin(monkeypatch, capsys, "\n".join(prompts), *words, *given)
        assert said == Said(0, "".join(f"{text}\n" for text in expected), "")
    assert from_stdin(monkeypatch, capsys, "", *words) == Said(0, "", "")
    beam = texts(model, [PROMPT], SamplingConfig(), max_new=20, beam=3, n=2)
    assert (
        clearhead(capsys, "generate", toy_lm_run, "--max-new", "20", "--beam", 3, "--n", 2, PROMPT).out.splitlines()
        == beam
    )


def test_a_line_break_is_written_as_one_where_lines_are_counted(
    toy_lm_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [toy_lm_run, "--max-new", "1", "--temperature", "0"]
    (one, two) = clearhead(capsys, "generate", *words, "--n", "2", "a\nb\r").out.splitlines()
    assert one == two
    assert one.startswith(r"a\nb\r")
    assert clearhead(capsys, "generate", *words, "a\nb").out.startswith("a\nb")


def test_each_engine_writes_the_same(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {}
    for engine in ("torch", *(() if FAULT else ("native",))):
        words = [toy_lm_run, "--json", "--n", "2", "--max-new", "9", "--engine", engine, PROMPT]
        trees = [json.loads(line) for line in clearhead(capsys, "generate", *words).out.splitlines()]
        assert {tree["engine"] for tree in trees} == {engine}
        said[engine] = [tree["text"] for tree in trees]
    assert len({*map(tuple, said.values())}) == 1


def test_json_has_every_piece(model: LanguageModel, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "generate", toy_lm_run, "--json", "--n", "2", "--max-new", "9", PROMPT)
    trees = [json.loads(line) for line in said.out.splitlines()]
    found = model.generate([PROMPT], GenerationConfig(max_new=9, n=2))
    assert [tree["text"] for tree in trees] == [one.text for one in found]
    assert PROMPT in said.out, "Chinese is written as Chinese"
    for tree, one in zip(trees, found, strict=True):
        assert tree["engine"] == model.computed
        assert set(tree) == {
            "engine",
            "prompt",
            "text",
            "pieces",
            "ids",
            "log_probs",
            "reason",
            "dropped",
            "unknown",
            "accepted",
        } | {"cut_better"}
        assert len(tree["pieces"]) == len(tree["ids"]) == len(tree["log_probs"])
        assert tree["log_probs"] == pytest.approx(one.log_probs)


def test_what_the_model_did_not_see_is_said(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    long = "我妹妹不骑自行车。" * 20
    for count in (1, 2):
        said = clearhead(capsys, "generate", toy_lm_run, "--max-new", "2", "--n", count, long)
        assert said.err.count("too long, its first ") == said.err.count(" pieces were left out\n") == count
    generate._warn_of(Generation("☃", "", [], [], [], "length", unknown=1), GenerationConfig())
    assert capsys.readouterr().err == "clearhead: '☃': 1 pieces are not in the model's vocabulary\n"
    said = clearhead(capsys, "generate", toy_lm_run, "--overlong", "error", long)
    assert_one_line(said, 3, "with max_new = 200 too many for the context of 48")
    assert said.out == "\n", "not even the prompt"


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--beam", "2", "--temperature", "0.5"], 2, ["beam = 2: looks for the most probable texts"]),
        (["--stop", ""], 2, ["one of them is empty"]),
        (["--temperature", "-1"], 2, ["--temperature"]),
        (["--typical-p", "0"], 2, ["--typical-p"]),
        (["--seed", str(1 << 64)], 2, ["'--seed': 18446744073709551616 is not in the range"]),
        (["--checkpoint", "step-7"], 4, ["has no checkpoint 'step-7'"]),
        (["--draft", "nowhere"], 4, ["run 'nowhere': no such directory"]),
    ],
)
def test_wrong_options(
    words: list[str], code: int, parts: list[str], toy_lm_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(clearhead(capsys, "generate", toy_lm_run, "x", *words), code, *parts)


def test_a_translator_does_not_generate(toy_run: Path, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(
        clearhead(capsys, "generate", toy_run, "x"), 4, "is for the task translation", "clearhead translate"
    )
    said = clearhead(capsys, "translate", toy_lm_run, "x")
    assert_one_line(said, 4, "is for the task language_model", "clearhead generate")


def test_text_that_is_not_unicode_is_one_line_too(toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that is not UTF-8 reaches Python as lone surrogates."""
    said = clearhead(capsys, "generate", toy_lm_run, "ab\udcff")
    assert_one_line(said, 3)
    assert said.out == "\n"


def test_a_prompt_that_cannot_be_continued_costs_no_other(
    toy_lm_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [toy_lm_run, "--max-new", "5", "--temperature", "0", "--overlong", "error"]
    first, last = (clearhead(capsys, "generate", *words, prompt).out for prompt in (PROMPT, "She"))
    content = f"\ufeff{PROMPT}\n{'我妹妹' * 40}\nShe\n"
    said = from_stdin(monkeypatch, capsys, content, *words)
    assert_one_line(said, 3, "stdin line 2: prompt ", "too many for the context of 48")
    assert said.out == f"{first}\n{last}"
    trees = [json.loads(line) for line in from_stdin(monkeypatch, capsys, content, *words, "--json").out.splitlines()]
    assert ["error" in tree for tree in trees] == [False, True, False]
    wide = clearhead(capsys, "generate", toy_lm_run, "--max-new", "5", "--n", "3", "--beam", "1", PROMPT)
    assert wide.out.count("\n") == 3


def test_an_error_amid_a_text_has_a_line_of_its_own(
    toy_lm_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C too, which ends with code 130."""
    for error, code in ((KeyboardInterrupt(), 130), (ZeroDivisionError("x"), 1)):

        def generate(self: Any, prompts: Any, config: Any, *, on_text: Any, error: Any = error, **settings: Any) -> Any:
            on_text(0, "不骑")
            raise error

        monkeypatch.setattr(TextModel, "generate", generate)
        said = clearhead(capsys, "generate", toy_lm_run, PROMPT)
        assert (said.code, said.out) == (code, f"{PROMPT}不骑\n")


@pytest.mark.long
def test_as_a_user_runs_it(toy_lm_run: Path) -> None:
    """In a process of its own: bytes in and out, nothing else on stdout or stderr."""
    said = in_process("generate", toy_lm_run, "--max-new", "5", stdin=f"{PROMPT}\n\n".encode())
    assert (said.code, said.err, said.out.count("\n")) == (0, "", 2)


@pytest.mark.long
def test_pieces_appear_as_they_are_written_and_ctrl_c_ends_them(toy_lm_run: Path) -> None:
    """Each read is whole characters, and comes long before the text could be complete."""
    words = ["generate", toy_lm_run, "--max-new", "1000000", "--min-length", "1000000", "--temperature", "2", PROMPT]
    command = [sys.executable, "-m", "clearhead", *map(str, words)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        # a shell's background jobs ignore the signal, and a child would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        text = ""
        while len(text) < 30:
            text += os.read(process.stdout.fileno(), 1 << 16).decode("utf-8", "strict")
        rest, errors = interrupted(process)
    assert text.startswith(PROMPT)
    assert process.returncode == 130
    assert (text + rest).endswith("\n")
    assert errors.splitlines()[-1] == "clearhead: interrupted"


def interrupted(process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """Presses Ctrl-C as a person does: once more where Python lost it, as it does inside a destructor."""
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            rest, errors = process.communicate(timeout=60)
            return rest.decode(), errors.decode()
    process.kill()
    raise AssertionError("four interrupts did not end it")


@pytest.mark.parametrize("task", ["rnn_language_model", "ngram"])
def test_what_came_before_writes_too(
    task: str, toy_baselines: dict[str, Path], toy_lm_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Streamed and as lines, behind a GPT as its draft, and with one line where 8 bits are asked of it."""
    run, prompts = toy_baselines[task], [PROMPT, "", "She " * 40]
    model: Any = load_language_model(run)
    for prompt in prompts:
        (expected,) = texts(model, [prompt], SamplingConfig(seed=7), max_new=30)
        said = clearhead(capsys, "generate", run, "--seed", "7", "--max-new", "30", "--overlong", "error", prompt)
        assert said == Said(0, f"{expected}\n", "")
    lines = texts(model, [PROMPT], SamplingConfig(), max_new=20, beam=3, n=2)
    said = clearhead(capsys, "generate", run, "--max-new", "20", "--beam", "3", "--n", "2", PROMPT)
    assert said.out.splitlines() == lines
    greedy = [toy_lm_run, "--temperature", "0", "--max-new", "30", PROMPT]
    plain, ahead = (clearhead(capsys, "generate", *greedy, *words) for words in ([], ["--draft", run]))
    assert plain == ahead
    assert_one_line(clearhead(capsys, "generate", run, "--weights", "int8", "x"), 2, "weights = 'int8': ")


@NATIVE
@pytest.mark.parametrize("weights", ["bfloat16", "int8", "int4"])
def test_other_weights_write_too(weights: str, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "generate", toy_lm_run, "--weights", weights, "--max-new", "5", "--temperature", "0", "a")
    assert said.code == 0
    assert said.out.startswith("a")
