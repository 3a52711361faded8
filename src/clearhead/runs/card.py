"""Model cards, the README.md of a run, from plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CardFacts:
    """What a family says of one of its models."""

    what: str
    """The model as the begin of a sentence: A language model."""
    sizes: str
    """Its sizes in a few words."""
    vocabulary: str
    """Its tokenizer in a few words."""
    commands: Sequence[str]
    """Command lines without ``clearhead``; ``{}`` stands for the run."""


def trained_card(
    run: Path,
    facts: CardFacts,
    *,
    about: str,
    parameters: int,
    steps: int,
    minutes: float,
    scores: Mapping[str, float],
    text: Sequence[str],
) -> str:
    """Returns the card of a model that was trained here, in Markdown.

    Args:
        run: its directory.
        facts: what its family says of it.
        about: one line of the recipe on what it is for.
        parameters: numbers that were learned.
        steps: how many were taken.
        minutes: how long they took.
        scores: of the last evaluation on valid.
        text: the report on the training text.
    """
    shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items()) or "not evaluated yet"
    curves = ", `loss.png` the curves" if (run / "loss.png").exists() else ""
    return f"""# {run.name}

{facts.what}, trained with clearhead. {about}

| | |
|---|---|
| model | {facts.sizes}, {parameters:,} parameters |
| vocabulary | {facts.vocabulary} |
| trained | {steps:,} steps, {minutes:.1f} minutes |
| valid | {shown} |

Training text:

{_indented(text)}

Use it:

{_indented(f"clearhead {command.format(run)}" for command in facts.commands)}

`recipe.toml` is the whole recipe, `metrics.jsonl` every step{curves}.
"""


def imported_card(run: Path, facts: CardFacts, lines: Sequence[str]) -> str:
    """Returns the card of a model that was read from a folder; ``lines`` say what was read."""
    return f"""# {run.name}

{facts.what} that was not trained here but imported.

{_indented(lines)}

Use it:

{_indented(f"clearhead {command.format(run)}" for command in facts.commands)}
"""


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
