"""``clearhead average``: the mean of the last checkpoints as one."""

from pathlib import Path

import click

from clearhead.cli.options import RUN, ranged, tell
from clearhead.ranges import Several


@click.command("average")
@RUN
@click.option("--last", type=ranged(Several), default=5, show_default=True, help="Checkpoints to average.")
def command(run: Path, last: int) -> None:
    """Average the weights of the last checkpoints of the run in directory RUN.

    The result is a checkpoint of its own, for translate and evaluate with --checkpoint. It holds the plain weights'
    mean, not that of their moving average.

    \b
    clearhead average RUN --last 5
    clearhead evaluate RUN --data DIR --checkpoint average-5
    """
    from clearhead.checkpoint import Checkpoint, average_checkpoints, load_checkpoint, save_checkpoint
    from clearhead.errors import UsageError
    from clearhead.manifest import checkpoints_of
    from clearhead.runs.recipes import load_recipe

    load_recipe(run)
    checkpoints = checkpoints_of(run)
    if len(checkpoints) < last:
        raise UsageError(
            f"--last {last}: the run has {len(checkpoints)} checkpoints; raise train.keep_last to keep more"
        )
    path = run / "checkpoints" / f"average-{last}"
    state = {
        "step": load_checkpoint(checkpoints[-1], ()).state["step"],
        "averaged": [checkpoint.name for checkpoint in checkpoints[-last:]],
    }
    save_checkpoint(path, Checkpoint({"model": average_checkpoints(checkpoints[-last:])}, state))
    tell(f"{path.name}: the mean of {', '.join(state['averaged'])}")
