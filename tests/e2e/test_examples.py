"""The programs of ``examples/`` run, print what they promise, and are small; their notebook runs and has no outputs."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearhead.data.demo_corpus import write_demo_corpus

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = ["own_module.py", "own_norm.py", "own_view.py", "train_translator.py"]
NOTEBOOK = EXAMPLES / "look_inside.ipynb"
MOST_LINES = 80


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Calls ``main`` of a program in an empty folder and returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(program: str, *arguments: Any, **options: Any) -> str:
        runpy.run_path(str(EXAMPLES / program))["main"](*arguments, **options)
        return capsys.readouterr().out

    return call


def cells() -> list[dict[str, Any]]:
    tree: dict[str, Any] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return list(tree["cells"])


def code() -> dict[str, str]:
    """The code cells of the notebook by their ids."""
    return {cell["id"]: "".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"}


def losses(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d+\.\d\d", line)]


def test_the_page_has_a_row_for_each_and_all_are_short() -> None:
    rows = re.findall(r"^\| \[([^]]+)\]\(([^)]+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8"), re.M)
    files = sorted([*PROGRAMS, NOTEBOOK.name])
    assert [(name, name) for name in files] == sorted(rows)
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"}) == files
    lengths = {name: len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) for name in PROGRAMS}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
    assert sum(len(source.splitlines()) for source in code().values()) <= MOST_LINES


def test_a_norm_of_ones_own_learns_like_those_of_the_library(said: Callable[..., str]) -> None:
    out = said("own_norm.py", steps=25)
    (apart,) = re.findall(r"p = 2 and RMS norm: at most (\S+) apart", out)
    assert float(apart) < 1e-4
    curves = {name: losses(line) for name, line in re.findall(r"^ +p = (\S+) (.*)$", out, re.M)}
    assert list(curves) == ["1", "2", "inf"]
    assert all(len(curve) == 5 and curve[-1] < curve[0] - 0.3 for curve in curves.values()), curves
    assert len({tuple(curve) for curve in curves.values()}) == 3  # the norms are not one
    assert re.search(r"^PowerNorm: .*", out, re.M)
    assert re.search(r"^layers\.1\.mlp_norm ", out, re.M)


def test_a_module_of_ones_own_is_trained_saved_and_loaded(said: Callable[..., str], tmp_path: Path) -> None:
    out = said("own_module.py", tmp_path, steps=8)
    assert "194,498 parameters" in out  # 2 layers of two networks and a gate
    assert (tmp_path / "run" / "checkpoints" / "latest").is_file()
    lines = out.splitlines()
    shares = {piece: int(share) for piece, share in (re.findall(r"(\S+) +(\d+)% #", line)[0] for line in lines[-8:])}
    assert "mother" in shares
    assert all(0 < share < 100 for share in shares.values())
    assert len(set(shares.values())) > 1


def test_a_view_of_ones_own_sees_what_alibi_does(said: Callable[..., str], tmp_path: Path) -> None:
    out = said("own_view.py")
    reach = [float(number) for number in re.findall(r"head \d .* (\d+\.\d)$", out, re.M)]
    assert reach == sorted(reach)  # slopes get flatter from head to head
    assert reach[0] < 2
    assert reach[-1] > 14
    page = (tmp_path / "reach.html").read_text(encoding="utf-8")
    assert f"looks the farthest back: {reach[-1]} positions" in page


def test_a_view_of_ones_own_takes_a_run(said: Callable[..., str], toy_lm_run: Path, tmp_path: Path) -> None:
    out = said("own_view.py", str(toy_lm_run), "He likes books.", str(tmp_path / "page.html"))
    assert len(re.findall(r"^layers\.[01]\.attn head [0-3]  .*█", out, re.M)) == 8
    assert (tmp_path / "page.html").is_file()


def test_a_translator_is_trained_from_python(said: Callable[..., str], tmp_path: Path) -> None:
    write_demo_corpus(tmp_path / "data")
    out = said("train_translator.py", tmp_path / "data", "zh", "en", tmp_path / "run", steps=5)
    steps = re.findall(r"^step +(\d+)  loss (\S+) nats", out, re.M)
    assert [int(step) for step, _ in steps] == [1, 2, 3, 4, 5]
    assert re.search(r"^5 steps; \d\.\d\d nats a piece on the valid split$", out, re.M)
    assert len(re.findall(r"^  -> ", out, re.M)) == 4
    assert re.search(r"^\d+ of 100 unseen sentences translated exactly, chrF ", out, re.M)


@pytest.mark.long  # 220 steps
def test_the_translator_translates(said: Callable[..., str], tmp_path: Path) -> None:
    write_demo_corpus(tmp_path / "data")
    out = said("train_translator.py", tmp_path / "data", "zh", "en", tmp_path / "run")
    (exact,) = re.findall(r"^(\d+) of 100 unseen sentences translated exactly", out, re.M)
    assert int(exact) >= 30  # 45 as measured
    assert "basketball<-" in out


def test_the_notebook_is_kept_without_outputs() -> None:
    assert [cell["id"] for cell in cells() if cell.get("outputs") or cell.get("execution_count")] == []
    assert {"train", "attention", "memory", "lesson"} <= set(code())


def test_the_notebook_runs(tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="nbclient is not installed: it runs notebooks")
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    for cell in notebook.cells:
        cell["source"] = cell["source"].replace("train.max_steps=100", "train.max_steps=20")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    outputs = {cell["id"]: cell["outputs"][-1] for cell in notebook.cells if cell.get("outputs")}
    before, after = losses(outputs["train"]["text"])[:2]
    assert after < before - 1
    shown = {name: output["data"].get("text/html", "") for name, output in outputs.items() if "data" in output}
    assert "layers.1.attn" in shown["attention"]
    assert ">yesterday<" in shown["attention"]
    assert "clearhead-view" in shown["memory"]
    assert "The variance of a sum" in shown["lesson"]
