"""Following a run: files that grow, change or are not there yet; it ends with the run, and touches nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from clearhead.errors import ModelError
from clearhead.runs.lock import locked
from clearhead.runs.recipes import save_recipe
from clearhead.training.events import Begun, Evaluated, Event, Finished, Stepped
from clearhead.training.writers import JsonLinesWriter
from clearhead.verbs.watch import follow as following
from clearhead.verbs.watch.follow import Tail, follow, look


def stepped(step: int) -> Stepped:
    return Stepped(step, 0, 2.0, 1e-3, 0.5, 100, 0.25)


def write(path: Path, *events: Event) -> None:
    writer = JsonLinesWriter(path)
    writer._file.seek(0, 2)
    for event in events:
        writer.write(event)
    writer.close()


def test_a_tail_reads_whole_lines_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    line = json.dumps({"event": "stepped", **vars(stepped(1))}) + "\n"
    path.write_text(line + line[:20])
    assert [record["step"] for record in tail.read()] == [1]
    assert tail.read() == []
    path.write_text(line + line)
    assert [record["step"] for record in tail.read()] == [1]
    assert len(tail.history.records) == 2


def test_a_tail_begins_anew_with_another_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, stepped(1), stepped(2))
    tail = Tail(path)
    assert len(tail.read()) == 2
    (tmp_path / "other").write_text(json.dumps({"event": "stepped", **vars(stepped(7))}) + "\n")
    (tmp_path / "other").replace(path)
    tail.read()
    assert [record["step"] for record in tail.history.records] == [7]


def acts(*each: Callable[[], object]) -> Callable[[], None]:
    """Returns what does one thing after the other, in place of waiting."""
    left = iter(each)

    def wait() -> None:
        next(left)()

    return wait


def test_a_run_is_followed_from_before_it_exists_to_its_end(tmp_path: Path) -> None:
    run = tmp_path / "run"
    held: list[Any] = []

    def prepare() -> None:
        run.mkdir()
        save_recipe(run, {"task": "translation", "name": "toy", "train": {"max_steps": 2}})
        held.append(locked(run))
        held[0].__enter__()

    def train() -> None:
        write(run / "metrics.jsonl", Begun(0, 2, "tokens"), stepped(1))

    def end() -> None:
        write(run / "metrics.jsonl", stepped(2), Evaluated(2, {"loss": 1.0}, best=True, seconds=1.0))
        write(run / "metrics.jsonl", Finished(2, "max_steps"))

    seen = list(follow(run, acts(prepare, train, end, lambda: held[0].__exit__(None, None, None))))
    assert [state.status for state, _ in seen] == ["absent", "preparing", "running", "ending", "finished"]
    assert [state.step for state, _ in seen] == [0, 0, 1, 2, 2]
    assert [[record["event"] for record in added] for _, added in seen][2:] == [
        ["begun", "stepped"], ["resumed", "stepped", "evaluated", "resumed", "finished"], [],
    ]  # fmt: skip
    assert seen[-1][0].about == "toy, translation"
    assert seen[1][0].holder == "another thread of this process"


def test_a_place_is_watched_until_something_else_stands_in_it(tmp_path: Path) -> None:
    """A lock that is left and a recipe that is being written are signs of a run to come."""
    (tmp_path / "lock").write_text("")
    (tmp_path / "recipe.toml.tmp").write_text("")
    looks = follow(tmp_path, lambda: None)
    assert [next(looks)[0].status for _ in range(2)] == ["new", "new"]
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(ModelError, match="is a folder of runs, and this takes one of them: seed-0"):
        next(looks)
    with locked(tmp_path):  # whatever is written first
        assert look(tmp_path).status == "preparing"


def test_a_run_that_ended_is_shown_once(toy_run: Path) -> None:
    ((state, _),) = follow(toy_run, lambda: pytest.fail("it waits for nothing"))
    assert (state.status, state.step, state.last, state.reason) == ("finished", 120, 120, "max_steps")
    assert state.samples is not None
    assert state == look(toy_run)


def test_a_run_that_begins_between_two_looks_is_not_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Iterator[str] = iter(["", "process 5"])
    write(tmp_path / "metrics.jsonl", Begun(0, 2, "tokens"))
    monkeypatch.setattr(following, "holder", lambda run: next(answers))
    assert look(tmp_path).status == "running"
