"""Trains ``gpt-char`` by ``clearhead train`` in bfloat16, compiled, and says when its loss was 1.46 nats or less.

``--data`` is a text or a folder of them (tiny-shakespeare for the bar of 1.46); without it random sentences are made,
of which the loss says nothing. The last tenth of the text is the valid split.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rounds import Asked, Row, asked

BAR, LOOK_SECONDS = 1.46, 1.0
SMALL = ["model.d_model=32", "model.d_ff=64", "model.n_heads=2", "model.n_layers=2", "model.max_seq_len=32"]
SMALL += ["train.batch_tokens=128", "train.max_steps=4", "train.evaluate_every=2", "train.checkpoint_every=0"]


def main(given: Asked) -> None:
    with tempfile.TemporaryDirectory() as folder:
        real = given.data is not None and given.data.exists() and not given.tiny
        data = given.data if real else made_text(Path(folder) / "text.txt")
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "clearhead", "train", "gpt-char", "--data", str(data), "--out", str(run)]
        sets = ["data.valid_fraction=0.1", "train.precision=bfloat16", f"train.device={given.device.type}"]
        sets += ["loss.chunk_size=16384", f"train.compile={str(given.compile).lower()}", *(SMALL if given.tiny else [])]
        command += [word for value in sets for word in ("--set", value)]
        row: Row = {"part": "char", "case": "gpt-char", "unit": "nats", "text": data.name if real else "made"}
        process = subprocess.Popen(command, env=os.environ | {"XDG_CACHE_HOME": folder}, cwd=folder)
        try:
            while process.poll() is None and given.left > 0:
                followed(run, row, given)
                time.sleep(LOOK_SECONDS)
        finally:
            process.kill()
            status = process.wait()
        ended = {} if status in (0, -9) else {"error": f"clearhead train ended with status {status}, see the log"}
        followed(run, row | ended, given, last=True)


def followed(run: Path, row: Row, given: Asked, *, last: bool = False) -> None:
    """Writes a row if there is a new evaluation, or if it is the ``last``."""
    events = read_events(run / "metrics.jsonl")
    steps = [event for event in events if event["event"] == "stepped"]
    scored = [(event["step"], event["scores"]["loss"]) for event in events if event["event"] == "evaluated"]
    if not last and len(scored) == row.get("evaluations", 0):
        return
    row["evaluations"] = len(scored)
    below = next((step for step, loss in scored if loss <= BAR), None)
    if scored:
        row |= {"median": min(loss for _, loss in scored), "last": scored[-1][1], "steps": steps[-1]["step"]}
        row["training_seconds"] = seconds_until(events, steps[-1]["step"])
        row[f"seconds_to_{BAR}"] = None if below is None else seconds_until(events, below)
        late = steps[len(steps) // 2 :]
        row["tokens/s"] = sum(step["tokens"] for step in late) / max(1e-9, sum(step["seconds"] for step in late))
    given.write(dict(row))


def read_events(file: Path) -> list[dict]:
    """Returns the whole lines of a file of events that is being written."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def seconds_until(events: list[dict], step: int) -> float:
    """Returns the seconds of all steps and evaluations up to ``step``; the first step compiles."""
    return round(sum(event.get("seconds", 0.0) for event in events if event.get("step", step + 1) <= step), 2)


def made_text(file: Path) -> Path:
    """Writes random sentences, for a try without data."""
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(2, 7))) for _ in range(200)]
    sentences = (" ".join(draw.choices(words, k=draw.randint(4, 12))) for _ in range(2000))
    file.write_text("\n".join(sentences) + "\n", encoding="utf-8")
    return file


if __name__ == "__main__":
    main(asked())
