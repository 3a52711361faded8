"""Where a run is, as its files tell: step, loss, speed, time left, scores, samples."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from clearhead.brief import Brief
from clearhead.config import Tree, table
from clearhead.training.events import Sampled
from clearhead.training.samples.shown import heads, read_sampled, tells
from clearhead.verbs.progress import clock

Status = Literal["absent", "new", "preparing", "running", "ending", "finished", "interrupted", "gone"]
"""What a run does: absent, no such directory; new, nothing is trained yet; preparing, a process reads its text;
ending, the last step is taken; gone, its process ended without a word."""
RECENT_STEPS, RECENT_SECONDS = 50, 10.0
"""Of the last steps, over which loss and speed are means: at most so many, that took so long together."""
MOST_SCORES = 8
"""Evaluations that are listed; the best one too."""


@dataclass(frozen=True)
class Scored:
    """An evaluation."""

    step: int
    scores: Mapping[str, float]
    best: bool


@dataclass(frozen=True)
class RunState(Brief):
    """Where a run is."""

    run: str
    status: Status
    about: str = ""
    """Name and task of its recipe; empty where it cannot be read."""
    holder: str = ""
    """The process that trains it, in words; empty if none does."""
    reason: str = ""
    """Why training ended."""
    step: int = 0
    last: int = 0
    """The last step of the run; 0 where it is not known."""
    loss: float | None = None
    """Mean of the last steps, as training minimizes it."""
    lr: float | None = None
    per_second: float | None = None
    """Targets a second."""
    targets: str = "tokens"
    seconds_left: float | None = None
    """Until the last step, evaluations included; None where it is not known."""
    evaluations: Sequence[Scored] = ()
    samples: Sampled | None = None
    """The last ones."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come of itself."""
        return self.status in ("finished", "interrupted", "gone")

    def as_dict(self) -> dict[str, Any]:
        """Returns all fields as plain values, for JSON."""
        return {**asdict(self), "over": self.over}

    def headline(self) -> str:
        """Says which run it is and what it does."""
        about = f"{self.run}, {self.about}" if self.about else self.run
        return f"{about}: {self._does()}"

    def _does(self) -> str:
        match self.status:
            case "absent":
                return "there is no such run yet"
            case "new":
                return "nothing is trained yet"
            case "preparing":
                return f"text and model are made ready by {self.holder}"
            case "running":
                return f"trained by {self.holder}"
            case "ending":
                return f"the last step is taken by {self.holder}"
            case "finished":
                return f"finished, {self.reason.replace('_', ' ')}" if self.reason else "finished"
            case "interrupted":
                return f"interrupted at step {self.step}; --resume goes on with it"
            case "gone":
                return f"its process ended without a word after step {self.step}; --resume goes on from its checkpoint"

    def progress(self) -> str:
        """Says how far it is, in the words of a run's own terminal; empty before the first step."""
        if self.loss is None or self.lr is None or self.per_second is None:
            return ""
        last = self.last or "?"
        numbers = f"loss {self.loss:.3f}  lr {self.lr:.2e}  {self.per_second:,.0f} {self.targets}/s"
        if self.seconds_left is None or self.over:
            return f"step {self.step}/{last}  {numbers}"
        return f"step {self.step}/{last}  {numbers}  {clock(self.seconds_left)} left"

    def table(self) -> list[str]:
        """Returns the scores of the last evaluations and of the best one, with a head, in columns."""
        best = [one for one in self.evaluations if one.best][-1:]
        shown = [*(one for one in best if one not in self.evaluations[-MOST_SCORES:]), *self.evaluations[-MOST_SCORES:]]
        names = list(dict.fromkeys(name for one in shown for name in one.scores))
        rows = [["step", *names, ""]]
        for one in shown:
            cells = [f"{one.scores[name]:.4f}" if name in one.scores else "-" for name in names]
            rows.append([f"{one.step:,}", *cells, "best" if one in best else ""])
        widths = [max(len(row[column]) for row in rows) for column in range(len(names) + 1)]
        return [
            "  ".join([*(cell.rjust(width) for cell, width in zip(row[:-1], widths, strict=True)), row[-1]]).rstrip()
            for row in (rows if shown else [])
        ]

    def sampled(self, width: int | None = None) -> list[str]:
        """Returns the last samples, line by line; ``width`` is how many columns a line may take."""
        if self.samples is None:
            return []
        pairs = zip(heads(self.samples, width), tells(self.samples, width, numbered=False), strict=True)
        return [line for pair in pairs for line in pair]


def state_of(run: Path, records: Sequence[Mapping[str, Any]], recipe: Tree, *, holder: str = "") -> RunState:
    """Returns where a run is.

    Args:
        run: its directory, which need not be there.
        records: of its ``metrics.jsonl``.
        recipe: the run's; empty if there is none yet.
        holder: the process that has locked it, in words; empty if none has.
    """
    steps = [record for record in records if record["event"] == "stepped"]
    ended = records[-1] if records and records[-1]["event"] == "finished" else None
    reason = str(ended.get("reason", "")) if ended else ""
    step, last = max((int(record["step"]) for record in records), default=0), last_of(records, recipe)
    train, recent = table(recipe, "train"), _recent(steps)
    samples = [record for record in records if record["event"] == "sampled"]
    seconds = sum(one["seconds"] for one in recent)
    status = _status(run, holder, reason, begun=bool(records), complete=bool(last) and step >= last)
    every = train.get("evaluate_every", 0)
    return RunState(
        run=str(run),
        status=status,
        about=", ".join(str(recipe[key]) for key in ("name", "task") if recipe.get(key)),
        holder=holder,
        reason=reason,
        step=step,
        last=last,
        loss=sum(one["loss"] for one in recent) / len(recent) if recent else None,
        lr=recent[-1]["lr"] if recent else None,
        per_second=sum(one["tokens"] for one in recent) / seconds if seconds else None,
        targets=next((str(one["targets"]) for one in reversed(records) if one["event"] == "begun"), "tokens"),
        seconds_left=seconds_left(records, step, last, every if isinstance(every, int) else 0),
        evaluations=[
            Scored(one["step"], one["scores"], bool(one["best"])) for one in records if one["event"] == "evaluated"
        ],
        samples=read_sampled(samples[-1]) if samples else None,
    )


def _status(run: Path, holder: str, reason: str, *, begun: bool, complete: bool) -> Status:
    if not holder:
        if not begun:
            return "new" if run.is_dir() else "absent"
        if reason == "interrupted":
            return "interrupted"
        return "finished" if reason or complete else "gone"
    if not begun or reason == "interrupted":
        return "preparing"
    return "ending" if reason else "running"


def last_of(records: Sequence[Mapping[str, Any]], recipe: Tree) -> int:
    """Returns the last step of a run, as it was decided last; 0 where it is not known."""
    for record in reversed(records):
        if record["event"] in ("sized", "begun"):
            return int(record["last"])
        if record["event"] == "counted":
            return 1
    train = table(recipe, "train")
    steps = 0 if train.get("max_minutes") else train.get("max_steps", 0)
    return steps if isinstance(steps, int) else 0


def seconds_left(records: Sequence[Mapping[str, Any]], step: int, last: int, evaluate_every: int) -> float | None:
    """Returns the time until the last step: what is left of the budget, or by what steps and evaluations took."""
    spent = 0.0
    for record in reversed(records):
        if record["event"] == "sized":
            return max(record["seconds_left"] - spent, 0.0) if "seconds_left" in record else None
        if record["event"] == "begun":
            break
        spent += record.get("seconds", 0.0)
    recent = _recent([record for record in records if record["event"] == "stepped"])
    if not recent or not last:
        return None
    evaluations = [record for record in records if record["event"] == "evaluated"]
    judging = sum(record.get("seconds", 0.0) for record in records if record["event"] in ("evaluated", "sampled"))
    between = (last - 1) // evaluate_every - step // evaluate_every if evaluate_every else 0
    to_come = between + 1 if step < last else 0
    each = judging / len(evaluations) if evaluations else 0.0
    return (last - step) * sum(one["seconds"] for one in recent) / len(recent) + to_come * each


def _recent(steps: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns the last steps, see ``RECENT_STEPS``."""
    taken: list[Mapping[str, Any]] = []
    seconds = 0.0
    for record in reversed(steps[-RECENT_STEPS:]):
        taken.insert(0, record)
        seconds += record["seconds"]
        if seconds >= RECENT_SECONDS:
            break
    return taken
