"""``clearhead plan``: memory, products and time of a recipe, for one device or many, without text and training."""

from dataclasses import asdict
from typing import Any

import click

from clearhead.cli.options import JSON, print_json, ranged, tell
from clearhead.ranges import Devices, Speed, Vocabulary


@click.command("plan")
@click.argument("recipe")
@click.option("--devices", type=ranged(Devices), default=1, show_default=True, help="Processes, one to a device.")
@click.option("--memory", metavar="SIZE", help="Of a device, such as 24GB: says whether the run fits, and what would.")
@click.option(
    "--rate",
    type=ranged(Speed),
    help="TFLOP/s that a device reaches in training.  [default: this machine's plain matrix products]",
)
@click.option(
    "--bandwidth",
    type=ranged(Speed),
    default=25.0,
    show_default=True,
    help="GB/s between two devices.",
)
@click.option("--vocab-size", type=ranged(Vocabulary), help="Pieces.  [default: tokenizer.vocab_size]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key; may be repeated.")
@JSON
def command(recipe: str, devices: int, memory: str | None, as_json: bool, **options: Any) -> None:
    """Forecast what RECIPE takes: bytes of weights, gradients, optimizer, average and activations, FLOPs, time.

    The steps are taken on tensors without content, with rows as wide as the recipe allows and no padding.

    \b
    clearhead plan translate-base
    clearhead plan gpt-124m --memory 24GB
    clearhead plan gpt-124m --devices 8 --set train.parallel=fsdp --rate 150
    """
    from clearhead.config import table
    from clearhead.runs.recipes import read_recipe
    from clearhead.training.device import pick_device
    from clearhead.verbs.machine.torch_here import product_rate
    from clearhead.verbs.plan import Devices, memory_size, plan

    tree = read_recipe(recipe, options["overrides"])
    size = memory_size(memory) if memory else None
    kind = table(tree, "train").get("precision", "float32")
    rate = options["rate"] * 1e12 if options["rate"] else product_rate(str(kind), pick_device("auto"))
    wanted = Devices(devices, size, rate, options["bandwidth"] * 1e9)
    planned = plan(tree, f"recipe {recipe!r}", wanted, vocab_size=options["vocab_size"])
    if as_json:
        print_json({**asdict(planned), "rate": rate, "rate_measured": options["rate"] is None})
        return
    for line in planned.lines():
        tell(line)
    if options["rate"] is None:
        tell(
            f"time: at {rate / 1e9:,.0f} GFLOP/s, which plain products reach on this machine; a step takes longer, "
            "--rate says what your devices reach"
        )
