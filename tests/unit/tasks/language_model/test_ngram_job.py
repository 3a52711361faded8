"""The counting of an n-gram model through the same verbs: its run, resuming, dry run, interruption."""

import json
import signal
from pathlib import Path

import pytest

from clearhead.models.ngram import Ngram
from clearhead.tasks.language_model.ngram_job import prepare_ngram
from clearhead.training.events import Counted, Evaluated, Finished
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import train_run
from tests.toy import clearhead, write_recipe
from tests.unit.tasks.language_model.test_ngram import TREE


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("the cat sat on the mat. " * 20, encoding="utf-8")
    return path


def test_what_happens_and_what_stays(text: Path, tmp_path: Path) -> None:
    job, run = prepare_ngram(TREE, "here", text), tmp_path / "run"
    run.mkdir()
    assert (job.parameters, job.progress.step, job.max_steps) == (0, 0, 1)
    assert "not evaluated yet" in job.card(run)
    events = list(job.fit(run, lambda: False))
    assert [type(event) for event in events] == [Counted, Evaluated, Finished]
    assert events[0].tokens == len(job.train)  # type: ignore[union-attr]
    assert job.parameters == Ngram.load(run / "ngram.npz").size > 0


def test_a_run_through_the_verbs(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe, run = write_recipe(tmp_path / "ngram.toml", TREE), tmp_path / "run"
    said = clearhead(capsys, "train", recipe, "--data", text, "--out", run, "--resume", "--json")
    result = json.loads(said.out)
    assert (said.code, result["step"], result["reason"]) == (0, 1, "complete")
    assert "model: n-grams of up to 3 pieces, kneser_ney, " in said.err
    assert "tokens counted, " in said.err
    assert {path.name for path in run.iterdir()} == {
        "README.md", "data-report.json", "metrics.jsonl", "ngram.npz", "recipe.toml", "tokenizer",
    }  # fmt: skip
    assert [record["event"] for record in read_metrics(run / "metrics.jsonl")] == [
        "begun", "counted", "evaluated", "finished",
    ]  # fmt: skip
    assert "loss.png" not in (run / "README.md").read_text()
    scored = json.loads(clearhead(capsys, "evaluate", run, "--data", text, "--split", "valid", "--json").out)
    assert scored["loss"] == pytest.approx(result["scores"]["loss"])
    assert (scored["context"], scored["stride"]) == (2, 0)
    before = (run / "recipe.toml").read_bytes()
    again = clearhead(capsys, "train", recipe, "--data", text, "--out", run, "--resume", "--set", "model.order=2")
    assert_one_line_at_the_end(again.err, "is complete, an n-gram model is counted in one pass")
    assert (again.code, (run / "recipe.toml").read_bytes()) == (2, before)
    card = (run / "README.md").read_text()
    assert 'clearhead generate RUN "..."' in card.replace(str(run), "RUN")
    written = clearhead(capsys, "generate", run, "--max-new", "5", "the")
    assert (written.code, written.err, written.out[:3]) == (0, "", "the")


def assert_one_line_at_the_end(err: str, part: str) -> None:
    assert part in err.splitlines()[-1]
    assert "Traceback" not in err


def test_a_dry_run_has_no_steps(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(tmp_path / "ngram.toml", TREE)
    said = clearhead(capsys, "train", recipe, "--data", text, "--dry-run")
    assert (said.code, said.err.splitlines()[-1]) == (0, "one pass over the text: there are no steps to try")
    tree = json.loads(clearhead(capsys, "train", recipe, "--data", text, "--dry-run", "--json").out)
    assert set(tree) == {"data", "not_exported_to", "recipe"}


def test_a_signal_leaves_nothing_counted(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Ngram.train

    def interrupted(*arguments: object, **named: object) -> Ngram:
        signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(Ngram, "train", interrupted)
    run = tmp_path / "run"
    run.mkdir()
    result = train_run(prepare_ngram(TREE, "here", text), run)
    assert (result.step, result.reason, result.signal) == (0, "interrupted", signal.SIGINT)
    assert not (run / "ngram.npz").exists()
