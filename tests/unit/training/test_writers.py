"""What is written of a run's events: metrics.jsonl, TensorBoard, the picture."""

import json
from contextlib import closing
from pathlib import Path

import pytest

from clearhead.errors import DataError
from clearhead.training.events import (
    Begun,
    Counted,
    Evaluated,
    Event,
    Finished,
    Sampled,
    SampledLine,
    Saved,
    Sized,
    Skipped,
    Stepped,
)
from clearhead.training.writers import (
    JsonLinesWriter,
    TensorBoardWriter,
    draw_curves,
    event_of,
    history_notes,
    read_metrics,
)


def stepped(step: int) -> Stepped:
    return Stepped(step, 0, 5.0 / step, 1e-3, 0.5, 100, 0.25)


def write(path: Path, events: list[Event], from_step: int = 0) -> None:
    writer = JsonLinesWriter(path, from_step=from_step)
    for event in events:
        writer.write(event)
    writer.close()


def test_steps_and_evaluations_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(
        path,
        [stepped(1), Evaluated(1, {"loss": 2.0}, best=True, seconds=0.1), Saved(1, path), Finished(1, "max_steps")],
    )
    first, second, third = map(json.loads, path.read_text().splitlines())
    assert third == {"event": "finished", "step": 1, "reason": "max_steps"}
    assert first == {
        "event": "stepped", "step": 1, "epoch": 0, "loss": 5.0, "lr": 1e-3, "grad_norm": 0.5, "tokens": 100,
        "seconds": 0.25,
    }  # fmt: skip
    assert second == {"event": "evaluated", "step": 1, "scores": {"loss": 2.0}, "best": True, "seconds": 0.1}


def test_a_skipped_step_is_a_line_that_any_reader_of_json_takes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [stepped(1), Skipped(2, 0, float("nan"), float("inf"), 1, "lines 3", 0.1)])

    def refuse(word: str) -> None:
        raise AssertionError(word)

    (_, line) = path.read_text().splitlines()
    record = json.loads(line, parse_constant=refuse)
    assert record["event"] == "skipped"
    assert (record["loss"], record["grad_norm"], record["where"]) == ("nan", "inf", "lines 3")
    assert len(read_metrics(path)) == 2
    assert read_metrics(path)[1]["grad_norm"] == float("inf")
    write(path, [Evaluated(1, {"loss": float("inf")}, best=True, seconds=0.1)])
    assert json.loads(path.read_text().splitlines()[-1])["scores"] == {"loss": "inf"}


def test_a_count_is_a_line_and_gives_no_curves(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [Counted(1, 100, 0.5), Evaluated(1, {"loss": 2.0}, best=True, seconds=0.1)])
    assert json.loads(path.read_text().splitlines()[0]) == {
        "event": "counted",
        "step": 1,
        "tokens": 100,
        "seconds": 0.5,
    }
    assert not draw_curves(path, tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()


def test_going_on_from_a_checkpoint_leaves_each_step_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [stepped(step) for step in range(1, 8)])
    with path.open("a") as file:
        file.write('{"event": "stepped", "st')  # cut short by a crash
    write(path, [stepped(step) for step in range(6, 9)], from_step=5)
    assert [record["step"] for record in read_metrics(path)] == list(range(1, 9))
    write(path, [stepped(1)])
    assert [record["step"] for record in read_metrics(path)] == [1]


def test_a_damaged_line_costs_itself_alone_and_no_line_is_ever_rewritten(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [*map(stepped, range(1, 7)), Evaluated(6, {"loss": 2.0}, best=True, seconds=0.1)])
    lines = path.read_bytes().splitlines(keepends=True)
    damage = [
        b"\xff\0{}\n",
        lines[1].replace(b'"step"', b'"stfp"'),
        lines[2].replace(b'"loss"', b'"lozs"'),
        lines[3].replace(b"0.001", b'"fast"'),
        b"[" * 5000 + b"\n",
        b"a" * (3 << 20) + b"\n",
    ]
    path.write_bytes(b"".join([lines[0], *damage, *lines[4:], b'{"event": "stepped", "st']))
    before = path.read_bytes()
    assert [record["step"] for record in read_metrics(path)] == [1, 5, 6, 6]
    assert history_notes(path, 6) == [
        f"{str(path)!r} cannot be read at line 2, 3, 4, 5, 6 and 2 more: kept as it is, and left out of the curves"
    ]
    for resumed in (6, 7):
        write(path, [stepped(resumed + 1)], from_step=resumed)
        assert [record["step"] for record in read_metrics(path)] == [1, 5, 6, 6, *range(7, resumed + 2)]
    assert path.read_bytes().startswith(before)
    draw_curves(path, tmp_path / "loss.png")
    assert history_notes(tmp_path / "gone", 6) == [f"{str(tmp_path / 'gone')!r} is gone: the curves begin at step 7"]
    assert history_notes(tmp_path / "gone", 0) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    kept, path, picture = tmp_path / "kept", tmp_path / "metrics.jsonl", tmp_path / "loss.png"
    write(path, [stepped(1)])
    kept.write_text("mine")
    picture.symlink_to(kept)
    assert draw_curves(path, picture)
    assert (kept.read_text(), picture.is_symlink()) == ("mine", False)
    path.unlink()
    path.symlink_to(kept)
    with pytest.raises(DataError, match=r"metrics\.jsonl' is a link or a device"):
        JsonLinesWriter(path)
    assert kept.read_text() == "mine"


def test_an_evaluation_whose_scores_were_not_saved_is_a_line_once(tmp_path: Path) -> None:
    """The process was killed between the evaluation, which an interruption had put off, and the checkpoint with it."""
    path, evaluated = tmp_path / "metrics.jsonl", Evaluated(2, {"loss": 2.0}, best=True, seconds=0.1)
    write(path, [stepped(1), Evaluated(1, {"loss": 3.0}, best=True, seconds=0.1), stepped(2), evaluated])
    for known in (True, False):
        with closing(JsonLinesWriter(path, from_step=2, evaluated=known)) as writer:
            if not known:
                writer.write(evaluated)
        lines = [(record["event"], record["step"]) for record in read_metrics(path)]
        assert lines == [("stepped", 1), ("evaluated", 1), ("stepped", 2), ("evaluated", 2)]


def test_once_a_checkpoint_is_there_so_are_the_steps_before_it(tmp_path: Path) -> None:
    """A run killed after a save resumes from it, and then no step may be missing."""
    path = tmp_path / "metrics.jsonl"
    with closing(JsonLinesWriter(path)) as writer:
        for event in [stepped(1), stepped(2), Saved(2, tmp_path)]:
            writer.write(event)
        assert [record["step"] for record in read_metrics(path)] == [1, 2]


def test_tensorboard_gets_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = TensorBoardWriter(tmp_path)
    for event in [stepped(1), stepped(2), Evaluated(2, {"loss": 2.0}, best=True, seconds=0.1), Saved(2, tmp_path)]:
        writer.write(event)
    writer.close()
    written = EventAccumulator(str(tmp_path)).Reload()
    assert [(scalar.step, scalar.value) for scalar in written.Scalars("train/loss")] == [(1, 5.0), (2, 2.5)]
    assert written.Scalars("train/tokens_per_second")[0].value == 400
    assert written.Scalars("valid/loss")[0].value == 2.0


@pytest.mark.parametrize("evaluated", [True, False])
def test_tensorboard_shows_each_step_and_evaluation_of_a_resumed_run_once(tmp_path: Path, evaluated: bool) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    metrics, scores = tmp_path / "metrics.jsonl", Evaluated(2, {"loss": 2.0}, best=True, seconds=0.1)
    before = [stepped(1), stepped(2), scores, stepped(3)]
    write(metrics, before)
    with closing(TensorBoardWriter(tmp_path)) as writer:
        for event in before:
            writer.write(event)
    with closing(TensorBoardWriter(tmp_path, from_step=2, evaluated=evaluated, metrics=metrics)) as writer:
        for event in [stepped(3)] if evaluated else [scores, stepped(3)]:
            writer.write(event)
    shown = EventAccumulator(str(tmp_path)).Reload()
    assert [scalar.step for scalar in shown.Scalars("train/loss")] == [1, 2, 3]
    assert [scalar.step for scalar in shown.Scalars("valid/loss")] == [2]


def test_the_picture_is_a_png_of_some_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "metrics.jsonl"
    write(path, [*map(stepped, range(1, 9)), Evaluated(8, {"loss": 2.0}, best=True, seconds=0.1)])
    assert draw_curves(path, tmp_path / "loss.png")
    picture = (tmp_path / "loss.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) > 5000


def test_without_matplotlib_there_is_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    assert not draw_curves(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    assert not (tmp_path / "loss.png").exists()


SAMPLED = Sampled(2, (SampledLine("given", "wanted", "made | of it", 12.5, "web"),), {"chrf": 12.5}, 0.1)


def test_every_record_is_its_event_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    events: list[Event] = [
        Begun(0, 9, "tokens"),
        Sized(0, 0, 3, 60.0),
        stepped(1),
        Skipped(2, 0, float("nan"), 1.0, 1, "", 0.1),
        Evaluated(2, {"loss": 1.0}, best=True, seconds=0.5),
        SAMPLED,
        Finished(2, "interrupted"),
    ]
    write(path, events)
    found = [event_of(record) for record in read_metrics(path)]
    assert str(found) == str(events)
    assert event_of({"event": "stepped", "step": 1}) is None
    assert event_of({"event": "resumed", "step": 1}) is None


def test_samples_of_an_evaluation_made_again_count_once_and_old_ends_do_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    evaluated = Evaluated(2, {"loss": 2.0}, best=True, seconds=0.1)
    write(path, [Begun(0, 4, "tokens"), stepped(1), stepped(2), evaluated, SAMPLED, Finished(2, "interrupted")])
    for known, kept in ((True, ["evaluated", "sampled"]), (False, [])):
        writer = JsonLinesWriter(path, from_step=2, evaluated=known)
        writer.close()
        assert [record["event"] for record in read_metrics(path)] == ["stepped", "stepped", *kept]


def test_a_sample_that_somebody_has_edited_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, [SAMPLED])
    path.write_text(path.read_text() + path.read_text().replace('"made | of it"', "5"))
    assert len(read_metrics(path)) == 1


def test_tensorboard_has_samples_as_text(tmp_path: Path) -> None:
    accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with closing(TensorBoardWriter(tmp_path)) as writer:
        writer.write(SAMPLED)
    board = accumulation.EventAccumulator(str(tmp_path)).Reload()
    (tag,) = board.Tags()["tensors"]
    assert tag == "samples/text_summary"
    (event,) = board.Tensors(tag)
    assert event.step == 2
    assert "| 1 | web: given | wanted | made \\| of it | chrF  12 |" in event.tensor_proto.string_val[0].decode()
    assert board.Scalars("samples/chrf")[0].value == 12.5
