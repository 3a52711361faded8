"""Runs made of folders in Hugging Face's layout: ``clearhead import``."""

from pathlib import Path

from clearhead.checkpoint import Checkpoint, load_matching, model_tensors, save_checkpoint
from clearhead.config import as_tree
from clearhead.runs.card import CardFacts, imported_card
from clearhead.runs.directory import create_run, new_run, write_text
from clearhead.runs.pointers import point_to
from clearhead.runs.recipes import save_recipe
from clearhead.tasks.catalog import AnyLearnedFamily, read_model
from clearhead.tasks.imported import Imported
from clearhead.tasks.room import build_here
from clearhead.training.generators import seed_generators


def import_run(folder: Path, out: Path | None = None, *, src: str = "", tgt: str = "") -> tuple[Path, Imported]:
    """Creates a run from a folder: recipe, tokenizer, a checkpoint at step 0 and a model card.

    Returns the run directory, and the model as it was read.

    Args:
        folder: in Hugging Face's layout.
        out: the run directory; None creates the next free ``runs/NAME-NNN``.
        src: source language of a translator, see ``read_model``.
        tgt: its target language.

    Raises:
        ModelError: see ``read_model``.
        UsageError: ``out`` is taken; see ``read_model``.
    """
    family, imported = read_model(folder, src=src, tgt=tgt)
    recipe = imported.recipe
    seed_generators(recipe.train.seed)  # for the heads that the folder lacks
    model = build_here(family.build, recipe, imported.parts.sizes)
    load_matching(model, imported.tensors, str(folder))
    run = create_run(out) if out is not None else new_run(recipe.name)
    save_recipe(run, as_tree(recipe), imported.parts.contents())
    imported.parts.save(run)
    checkpoint = run / "checkpoints" / "step-00000000"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(model)}, {"step": 0}))
    point_to(run, "latest", checkpoint)
    write_text(run / "README.md", imported_card(run, _facts(family, imported), imported.lines()))
    return run, imported


def _facts(family: AnyLearnedFamily, imported: Imported) -> CardFacts:
    return CardFacts(
        what=f"A {family.noun}",
        sizes=imported.sizes,
        vocabulary=imported.parts.tokenizer.size(),
        commands=[f"{family.verb} {{}} {family.example}", family.further],
    )
