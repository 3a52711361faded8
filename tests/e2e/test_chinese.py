"""What a reader of Chinese sees: no English prose, and no line that is wider than the screen, in either language."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
from rich.cells import cell_len

from clearhead.cli import checkpoints
from clearhead.cli.inspect import LINES
from clearhead.cli.main import VERBS
from clearhead.drawing import screen
from clearhead.drawing.report import View
from clearhead.errors import ModelError
from clearhead.messages import Language, speaking
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.look.views import OF_TEXT, view_of
from tests import toy

WIDTH = 80
VALUES = re.compile(r"^ *clearhead .*|'[^']*'|\"[^\"]*\"|\[[^\]]*\]|--[\w=-]+|\S*[\w)][_/.=\d]\S*|\S*[A-Z]\S*")
"""What is no prose: commands, quoted texts and lists, options, paths, dotted and other names, numbers and units."""
RUN = re.compile(r"(?<![\w-])[a-z]+(?:[,;:]? [a-z]+){2,}(?![\w-])")
FIELD = {"ddp", "onnx", "gguf", "torch", "pre", "post", "step", "epoch", "position", "seconds"}
"""Names that the field writes as words."""
VIEWS = [view for view in LINES if view != "all"]
CHINESE = "一只猫"
TEXTS = {"toy_run": CHINESE, "toy_lm_run": "a cat", "toy_masked_run": "a cat ran"}
ELSEWHERE = ("attention", "embedding", "query", "rank", "norm")
"""Views that differ from family to family; all others of the language model and of the BERT are a long test."""


def english(line: str, known: frozenset[str] = frozenset()) -> list[str]:
    """Returns the runs of three or more English words in a line, two of them of the program: not in ``known``."""
    known = known | FIELD
    runs = RUN.findall(VALUES.sub("-", line))
    return [run for run in runs if sum(word not in known for word in re.findall("[a-z]{3,}", run)) >= 2]


def check(shown: dict[Language, list[str]], known: frozenset[str] = frozenset()) -> None:
    """Checks what is shown in both languages."""
    for language, lines in shown.items():
        wide = [line for line in lines if cell_len(line) > WIDTH]
        assert not wide, (language, wide)
    left = [(line, runs) for line in shown["zh"] if (runs := english(line, known))]
    assert not left, left
    assert re.search(r"[\u4e00-\u9fff]", "".join(shown["zh"])), shown["zh"]


def said(capsys: pytest.CaptureFixture[str], *words: object) -> dict[Language, list[str]]:
    """Returns what a command prints in each language."""
    shown = {}
    for language in get_args(Language):
        told = toy.clearhead(capsys, *words, "--lang", language)
        assert told.code == 0, told
        shown[language] = told.out.splitlines()
    return shown


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    for module in (screen, checkpoints):
        monkeypatch.setattr(module, "columns", lambda: WIDTH)


@pytest.fixture(scope="module")
def known(toy_run: Path) -> frozenset[str]:
    """The English words and pieces of the toy runs."""
    words = {word for _, line in toy.demo_lines(toy.PAIRS + 2 * toy.HELD_OUT) for word in re.findall("[a-z]+", line)}
    tokenizer = Translator.load(toy_run, device="cpu").tokenizers.tgt
    return frozenset(words | set(re.findall("[a-z]+", " ".join(tokenizer.pieces(range(tokenizer.vocab_size))))))


def test_the_rule_finds_prose_and_leaves_values() -> None:
    assert english("46 个候选：could no longer win, when the search stopped") == [
        "could no longer win, when the search stopped"
    ]
    assert not english("encoder.layers.0.attn  'the beam was full'  --beam  kept_by_the_heap  train_loss 0.3 two words")
    assert not english("a cat ran", frozenset(("a", "cat", "ran")))


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    check(said(capsys, *filter(None, [verb]), "--help"))


def both(view: View) -> dict[Language, list[str]]:
    """Renders a view in each language."""
    shown: dict[Language, list[str]] = {}
    for language in get_args(Language):
        with speaking(language):
            shown[language] = view.lines(WIDTH)
    return shown


def cases() -> Iterator[object]:
    """Yields (fixture of a run, view): what is different in each run is a quick test."""
    for run in TEXTS:
        for view in VIEWS:
            quick = run == "toy_run" or view in ELSEWHERE
            yield pytest.param(run, view, marks=[] if quick else [pytest.mark.long])


@pytest.mark.parametrize(("fixture", "what"), list(cases()))
def test_views(fixture: str, what: str, known: frozenset[str], request: pytest.FixtureRequest) -> None:
    run: Path = request.getfixturevalue(fixture)
    text = TEXTS[fixture] if what in OF_TEXT or what == "parts" else None
    if fixture == "toy_masked_run" and what in ("steps", "beam"):
        with pytest.raises(ModelError, match="writes no text"):
            view_of(what, run, text, checkpoint="best", device="cpu")
    else:
        check(both(view_of(what, run, text, checkpoint="best", device="cpu")), known)


def test_trace_and_checkpoints(toy_run: Path, known: frozenset[str], capsys: pytest.CaptureFixture[str]) -> None:
    check(said(capsys, "trace", toy_run, CHINESE), known)
    check(said(capsys, "checkpoints", toy_run, "--verify"))


@pytest.mark.parametrize("words", [["doctor"], ["presets"]])
def test_what_needs_no_run(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check(said(capsys, *words))


@pytest.mark.parametrize("more", [[], ["--memory", "1MB"], ["--devices", "2", "--memory", "24GB"]])
def test_plan(more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = toy.write_recipe(tmp_path / "recipe.toml")
    check(said(capsys, "plan", recipe, "--rate", "0.5", "--set", "train.max_steps=4", *more))
