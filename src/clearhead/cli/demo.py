"""``clearhead demo``: train a small translator on the embedded corpus, then talk."""

import tempfile
from pathlib import Path

import click

from clearhead.cli.options import ranged, tell
from clearhead.drawing.screen import console
from clearhead.ranges import Seed

SENTENCE = "我吃了一个苹果"


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), help="Run directory.  [default: runs/demo-NNN]")
@click.option("--seed", type=ranged(Seed), default=0, show_default=True, help="Of weights, order and dropout.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a recipe key; may be repeated.")
def command(out: Path | None, seed: int, overrides: tuple[str, ...]) -> int:
    """Train a small Chinese-English Transformer on sentences that clearhead makes itself, and talk to it.

    Takes about three minutes on two cores. The sentence 我吃了一个苹果 is not in its training text.
    """
    from clearhead.cli.trace import render
    from clearhead.cli.train import train_and_show
    from clearhead.data.demo_corpus import write_demo_corpus
    from clearhead.tasks.translation.scoring import evaluate_translator
    from clearhead.tasks.translation.translator import Translator

    with tempfile.TemporaryDirectory() as folder:
        write_demo_corpus(Path(folder))
        result = train_and_show("demo", Path(folder), out, [f"train.seed={seed}", *overrides], resume=False)
        if result.reason == "interrupted":
            return 128 + (result.signal or 2)
        translator = Translator.load(result.run)
        evaluation = evaluate_translator(translator, Path(folder), "test", beam=1)
    screen = console()
    for part in render(translator.trace(SENTENCE)):
        screen.print(part)
    click.echo(f"\n{SENTENCE} -> {translator.translate([SENTENCE])[0].text}")
    tell(
        f"{evaluation.sentences} held-out sentences: {evaluation.scores.exact_match:.1f} % translated exactly, "
        f"BLEU {evaluation.scores.bleu:.1f} ({evaluation.scores.bleu_signature})"
    )
    for line in ("", f"run directory: {result.run}", "", "Try next:"):
        tell(line)
    click.echo(f'  clearhead translate {result.run} "她昨天没买书。"')
    click.echo(f'  clearhead trace {result.run} "你喜欢苹果吗？"')
    return 0
