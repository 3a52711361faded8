"""Writes the model card of a run, its README.md, from plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead.messages import localized, localized_lines


@dataclass(frozen=True)
class CardFacts:
    """The facts about a model that its family fills into the card."""

    what: str
    """What kind of model it is, as the beginning of a sentence, such as ``A language model``."""
    sizes: str
    """Its layers and widths in a few words."""
    vocabulary: str
    """Its tokenizer in a few words."""
    commands: Sequence[str]
    """Command lines to try, without the word ``clearhead``; ``{}`` stands for the path of the run."""


@dataclass(frozen=True)
class Training:
    """What the training of a model came to."""

    parameters: int
    """How many the model has."""
    steps: int
    """Optimizer steps taken."""
    minutes: float
    """Spent in training and evaluation."""
    scores: Mapping[str, float]
    """Of the last evaluation on the valid split; empty before the first."""


def trained_card(
    run: Path,
    facts: CardFacts,
    *,
    about: str,
    done: Training,
    text: Sequence[str],
    samples: Sequence[str] = (),
) -> str:
    """Returns, in Markdown, the card of a model that clearhead trained.

    Args:
        run: the run directory.
        facts: from the model's family.
        about: the recipe's line on what the model is for.
        done: what training came to.
        text: the report on the training text, line by line.
        samples: what it made of a few lines of the valid split, line by line; empty without any.
    """
    shown = ", ".join(f"{name} {value:.3f}" for name, value in done.scores.items()) or "not evaluated yet"
    curves = ", `loss.png` the curves" if (run / "loss.png").exists() else ""
    what = f"{facts.what}, trained with clearhead. {about}" if about else f"{facts.what}, trained with clearhead."
    head = localized_lines(f"""# {run.name}

{what}

| | |
|---|---|
| model | {facts.sizes}, {done.parameters:,} parameters |
| vocabulary | {facts.vocabulary} |
| trained | {done.steps:,} steps, {done.minutes:.1f} minutes |
| valid | {shown} |

Training text:

{_indented(text)}
""")
    tail = localized_lines(f"""
Use it:

{_indented(f"clearhead {command.format(run)}" for command in facts.commands)}

`recipe.toml` is the whole recipe, `metrics.jsonl` every step{curves}.
""")
    told = "Lines of the valid split with what stands there (=), and what it made of them after so many steps:"
    middle = f"\n{localized(told)}\n\n{_indented(samples)}\n" if samples else ""  # texts are in no catalogue
    return head + middle + tail


def imported_card(run: Path, facts: CardFacts, lines: Sequence[str]) -> str:
    """Returns the card of a model imported from a folder; ``lines`` list what was read from it."""
    return localized_lines(f"""# {run.name}

{facts.what} that was not trained here but imported.

{_indented(lines)}

Use it:

{_indented(f"clearhead {command.format(run)}" for command in facts.commands)}
""")


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
