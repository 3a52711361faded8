"""Models from and to folders in Hugging Face's layout: what ``clearhead import`` and ``clearhead export`` do."""

from dataclasses import dataclass, field
from pathlib import Path

from clearhead.checkpoint import Checkpoint, load_model_tensors, model_tensors, save_checkpoint
from clearhead.config import as_tree
from clearhead.errors import ModelError, UsageError
from clearhead.interop.folder import read_config, read_tensors, write_folder
from clearhead.interop.gpt import Report, gpt_from_hugging_face, gpt_to_hugging_face
from clearhead.interop.spelling import Tensors
from clearhead.interop.tokenizer import read_tokenizer, write_tokenizer
from clearhead.models.gpt import GPT
from clearhead.tasks.generator import LanguageModel
from clearhead.tasks.language_model import GPTRecipe, build_net, save_tokenizer, sizes_of
from clearhead.tasks.run import create_run, new_run, save_recipe, write_text
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer
from clearhead.train.config import TrainConfig
from clearhead.train.state import point_to


@dataclass(frozen=True)
class Imported:
    """A model that was read from a folder."""

    recipe: GPTRecipe
    """Sizes and tokenizer; all else is at its default, for the folder does not say how it was trained."""
    tokenizer: Tokenizer = field(repr=False)
    tensors: Tensors = field(repr=False)
    """In our names and shapes."""
    report: Report

    def lines(self) -> list[str]:
        """What was read, for a terminal."""
        report = self.report
        left = (
            f"; {len(report.left)} left, which hold nothing learned: {', '.join(report.left[:4])}"
            if report.left
            else ""
        )
        pieces = f"{report.vocab_size:,} pieces"
        return [f"model: {sizes_of(self.recipe.model)}, {pieces}", f"{len(report.loaded)} tensors loaded{left}"]


def read_model(folder: Path) -> Imported:
    """Reads a GPT-2 or Llama-shaped model with its tokenizer.

    Raises:
        ModelError: the folder is not there or incomplete, or the model has what ours cannot represent; the message
            names the first such thing.
    """
    config = read_config(folder)
    model, tensors, report = gpt_from_hugging_face(config, read_tensors(folder))
    if model.tie:  # a table of two places is written once, as in a checkpoint
        del tensors["lm_head.weight"]
    tokenizer = read_tokenizer(folder, config, report.vocab_size)
    train = TrainConfig(batch_tokens=max(TrainConfig.batch_tokens, model.max_seq_len))
    recipe = GPTRecipe(name=folder.resolve().name, model=model, tokenizer=tokenizer.config, train=train)
    return Imported(recipe, tokenizer, tensors, report)


def import_run(folder: Path, out: Path | None = None) -> tuple[Path, Imported]:
    """Makes a run of a folder: recipe, tokenizer, one checkpoint at step 0, a model card.

    Args:
        folder: in Hugging Face's layout.
        out: the run directory; None is the next free ``runs/NAME-NNN``.

    Raises:
        ModelError: see ``read_model``.
        UsageError: ``out`` is taken.
    """
    found = read_model(folder)
    net = build_net(found.recipe, found.tokenizer)
    load_model_tensors(net, found.tensors, str(folder))
    run = create_run(out) if out is not None else new_run(found.recipe.name)
    save_recipe(run, as_tree(found.recipe))
    save_tokenizer(found.tokenizer, run)
    checkpoint = run / "checkpoints" / "step-00000000"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(net)}, {"step": 0}))
    point_to(run, "latest", checkpoint)
    write_text(run / "README.md", _card(run, found))
    return run, found


def export_run(run: Path, out: Path, *, checkpoint: str = "best") -> Path:
    """Writes the model of a run as a folder that Hugging Face's classes load.

    Args:
        run: of a decoder-only language model.
        out: a folder that is not there yet, or empty.
        checkpoint: best, latest, or a checkpoint's name.

    Raises:
        ModelError: the run is of another kind, or no GPT-2 or Llama is such a model; the message names the key.
        UsageError: ``out`` is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")
    found = LanguageModel.load(run, checkpoint=checkpoint, device="cpu")
    if not isinstance(found.model, GPT):
        raise ModelError(f"run {str(run)!r} is {sizes_of(found.recipe.model)}: Hugging Face has no class for it")
    ids, tokenizer = found.tokenizer.ids, found.tokenizer
    named = {"eos_id": ids.eos, "bos_id": tokenizer.begin, "pad_id": None if ids.pad == ABSENT else ids.pad}
    vocab_size = tokenizer.vocab_size
    config, tensors = gpt_to_hugging_face(found.model.config, found.model.state_dict(), vocab_size=vocab_size, **named)
    write_folder(out, config, tensors, write_tokenizer(tokenizer, begins=found.marks))
    return out


def _card(run: Path, found: Imported) -> str:
    lines = "\n".join(f"    {line}" for line in found.lines())
    return f"""# {run.name}

A language model that was not trained here but imported.

{lines}

Use it:

    clearhead generate {run} "..."
    clearhead train gpt-finetune --from {run} --data FILE
"""
