"""Samples of the valid split: every family makes them, and training does not notice."""

import json
from pathlib import Path
from typing import Any

import pytest

from clearhead.manifest import checkpoints_of
from clearhead.training.events import Evaluated, Event, Sampled
from clearhead.training.writers import read_metrics
from clearhead.verbs.train import train
from tests import toy
from tests.e2e.test_thin import TREES, text_for

SETTINGS = ["train.max_steps=6", "train.warmup_steps=1", "train.evaluate_every=2", "model.dropout=0.3"]
SETTINGS += ["optim.schedule=constant"]  # others depend on the last step, which one of the runs has early
SETTINGS += ["train.precision='float32'"]  # auto measures, and might not choose the same in two runs
SCORES = {"translation": {"chrf"}, "rnn_translation": {"chrf"}, "masked": {"right"}, "classify": {"right"}}


class Kept:
    """Keeps the events of a run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None:
        pass


def weights(run: Path) -> dict[str, bytes]:
    """The files of all checkpoints by name; of their states all but how long it took, and the recipe's own key."""
    files: dict[str, bytes] = {}
    for folder in checkpoints_of(run):
        for path in sorted(folder.glob("*.safetensors")):
            files[f"{folder.name}/{path.name}"] = path.read_bytes()
        state: dict[str, Any] = json.loads((folder / "state.json").read_bytes())
        del state["seconds"]
        files[f"{folder.name}/state"] = json.dumps(state, sort_keys=True).encode()
    return files


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("task", [task for task in TREES if task != "ngram"])
def test_training_is_the_same_with_samples_and_without_and_resumed(task: str, tmp_path: Path) -> None:
    recipe = toy.write_recipe(tmp_path / "recipe.toml", TREES[task])
    data = text_for(task, tmp_path / "data")
    kept = Kept()
    train(recipe, data=data, out=tmp_path / "on", overrides=SETTINGS, writers=[kept])
    train(recipe, data=data, out=tmp_path / "off", overrides=[*SETTINGS, "validation.samples=0"])
    train(recipe, data=data, out=tmp_path / "twice", overrides=[*SETTINGS, "train.max_steps=4"])
    again = Kept()
    train(recipe, data=data, out=tmp_path / "twice", overrides=SETTINGS, resume=True, writers=[again])

    on = weights(tmp_path / "on")
    assert len(on) >= 6
    assert weights(tmp_path / "off") == on
    assert {
        name: file for name, file in weights(tmp_path / "twice").items() if "00000006/" in name and "state" not in name
    } == {name: file for name, file in on.items() if "00000006/" in name and "state" not in name}

    samples = [event for event in kept.events if isinstance(event, Sampled)]
    assert [event.step for event in samples] == [2, 4, 6]
    assert all(
        [(one.given, one.wanted) for one in event.lines] == [(one.given, one.wanted) for one in samples[0].lines]
        for event in samples
    )
    assert [event.lines for event in again.events if isinstance(event, Sampled)] == [samples[-1].lines]
    assert len(samples[0].lines) == 3
    assert set(samples[0].scores) == SCORES.get(task, set())
    kinds = [type(event) for event in kept.events if isinstance(event, Evaluated | Sampled)]
    assert kinds == [Evaluated, Sampled] * 3
    assert not [record for record in read_metrics(tmp_path / "off" / "metrics.jsonl") if record["event"] == "sampled"]
    recorded = [record for record in read_metrics(tmp_path / "on" / "metrics.jsonl") if record["event"] == "sampled"]
    assert [record["lines"][0]["made"] for record in recorded] == [event.lines[0].made for event in samples]


def test_the_card_tells_how_they_changed(tmp_path: Path) -> None:
    recipe = toy.write_recipe(tmp_path / "recipe.toml", TREES["translation"])
    data = text_for("translation", tmp_path / "data")
    kept = Kept()
    train(recipe, data=data, out=tmp_path / "run", overrides=SETTINGS, writers=[kept])
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    (*_, last) = (event for event in kept.events if isinstance(event, Sampled))
    assert "what it made of them after so many steps:\n\n    1  " in card
    for line in last.lines:
        assert f"  {line.given}\n       = {line.wanted}\n" in card
    assert card.count("            6  chrF") == len(last.lines)
    assert card.index("samples" if "samples" in card else "Lines of") < card.index("Use it:")
