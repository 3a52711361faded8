"""Writes the model card of a run, its README.md, from plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from clearhead.messages import localized_lines


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
    """Returns, in Markdown, the card of a model that clearhead trained.

    Args:
        run: the run directory.
        facts: from the model's family.
        about: the recipe's line on what the model is for.
        parameters: number of parameters.
        steps: optimizer steps taken.
        minutes: time spent in training and evaluation.
        scores: of the last evaluation on the valid split; empty before the first.
        text: the report on the training text, line by line.
    """
    shown = ", ".join(f"{name} {value:.3f}" for name, value in scores.items()) or "not evaluated yet"
    curves = ", `loss.png` the curves" if (run / "loss.png").exists() else ""
    what = f"{facts.what}, trained with clearhead. {about}" if about else f"{facts.what}, trained with clearhead."
    return localized_lines(f"""# {run.name}

{what}

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
""")


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
