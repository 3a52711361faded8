"""Models from and to folders in Hugging Face's layout: what ``clearhead import`` and ``clearhead export`` do."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from clearhead.checkpoint import Checkpoint, load_matching, model_tensors, save_checkpoint
from clearhead.config import Tree, as_tree
from clearhead.data.pairs import MaskedConfig
from clearhead.errors import ModelError, UsageError
from clearhead.interop.bert import bert_from_hugging_face, bert_to_hugging_face
from clearhead.interop.folder import read_config, read_tensors, write_folder
from clearhead.interop.gpt import gpt_from_hugging_face, gpt_to_hugging_face
from clearhead.interop.spelling import Tensors
from clearhead.interop.tokenizer import read_tokenizer, write_tokenizer
from clearhead.models.bert import BertKind
from clearhead.models.gpt import GPT
from clearhead.tasks import language_model, masked
from clearhead.tasks.generator import LanguageModel
from clearhead.tasks.language_model import GPTRecipe, build_net, save_tokenizer
from clearhead.tasks.masked import MaskedRecipe, build_masked
from clearhead.tasks.masked_model import MaskedModel
from clearhead.tasks.run import VERBS, create_run, load_recipe, new_run, save_recipe, write_text
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer
from clearhead.train.config import TrainConfig
from clearhead.train.state import point_to


@dataclass(frozen=True)
class Imported:
    """A model that was read from a folder."""

    recipe: GPTRecipe | MaskedRecipe
    """Sizes and tokenizer; all else is at its default, for the folder does not say how it was trained."""
    tokenizer: Tokenizer = field(repr=False)
    tensors: Tensors = field(repr=False)
    """In our names and shapes."""
    loaded: tuple[str, ...]
    """Tensors that ours are made of, as the folder spells them."""
    left: tuple[str, ...]
    """Those that stay behind: they hold nothing learned."""
    new: tuple[str, ...] = ()
    """Tensors of heads that the folder lacks: they are freshly drawn, and to be trained."""

    def lines(self) -> list[str]:
        """What was read, for a terminal."""
        recipe = self.recipe
        sizes = (
            masked.sizes_of(recipe.model) if isinstance(recipe, MaskedRecipe) else language_model.sizes_of(recipe.model)
        )
        counts = [f"{len(self.loaded)} tensors loaded"]
        counts += (
            [f"{len(self.left)} left, which hold nothing learned: {', '.join(self.left[:4])}"] if self.left else []
        )
        counts += [f"{len(self.new)} new, which are to be trained: {', '.join(self.new)}"] if self.new else []
        return [f"model: {sizes}, {self.tokenizer.vocab_size:,} pieces", "; ".join(counts)]


def read_model(folder: Path) -> Imported:
    """Reads a model with its tokenizer: GPT-2, Llama-shaped, or a BERT that finds masked pieces or could learn to.

    Raises:
        ModelError: the folder is not there or incomplete, or the model has what ours cannot represent; the message
            names the first such thing.
    """
    config = read_config(folder)
    return _read_bert(folder, config) if config.get("model_type") == "bert" else _read_gpt(folder, config)


def _read_gpt(folder: Path, config: Tree) -> Imported:
    model, tensors, report = gpt_from_hugging_face(config, read_tensors(folder))
    if model.tie:  # a table of two places is written once, as in a checkpoint
        del tensors["lm_head.weight"]
    tokenizer = read_tokenizer(folder, config, report.vocab_size)
    recipe = GPTRecipe(model=model, **_described(folder, tokenizer, model.max_seq_len))
    return Imported(recipe, tokenizer, tensors, report.loaded, report.left)


def _read_bert(folder: Path, config: Tree) -> Imported:
    """Reads a BERT; a bare encoder gets the heads of pretraining, of which its pooler decides whether it is both."""
    given = read_tensors(folder)
    model, tensors, report = bert_from_hugging_face(config, given)
    made: dict[BertKind, BertKind] = {"encoder": "masked", "pooled": "pretraining"}
    if report.kind in made:
        model, tensors, report = bert_from_hugging_face(config, given, kind=made[report.kind])
    if report.kind not in ("masked", "pretraining"):
        raise ModelError(
            f"{str(folder)!r} is a classifier ({report.kind}): a BERT without one, or pretrained, is needed"
        )
    tensors.pop("mlm_head.out_proj.weight", None)  # the table of embeddings, written once as in a checkpoint
    tokenizer = read_tokenizer(folder, config, report.vocab_size)
    pairs = MaskedConfig(next_sentence=report.kind == "pretraining")
    recipe = MaskedRecipe(model=model, masked=pairs, **_described(folder, tokenizer, model.max_seq_len))
    return Imported(recipe, tokenizer, tensors, report.loaded, report.left, report.missing)


def _described(folder: Path, tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    """Returns the keys of a recipe that the folder decides whatever the model."""
    train = TrainConfig(batch_tokens=max(TrainConfig.batch_tokens, length))
    return {"name": folder.resolve().name, "tokenizer": tokenizer.config, "train": train}


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
    recipe = found.recipe
    torch.manual_seed(recipe.train.seed)  # of what is new
    net = (
        build_masked(recipe, found.tokenizer)
        if isinstance(recipe, MaskedRecipe)
        else build_net(recipe, found.tokenizer)
    )
    load_matching(net, found.tensors, str(folder))
    run = create_run(out) if out is not None else new_run(recipe.name)
    save_recipe(run, as_tree(recipe))
    save_tokenizer(found.tokenizer, run)
    checkpoint = run / "checkpoints" / "step-00000000"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(net)}, {"step": 0}))
    point_to(run, "latest", checkpoint)
    write_text(run / "README.md", _card(run, found))
    return run, found


def export_run(run: Path, out: Path, *, checkpoint: str = "best") -> Path:
    """Writes the model of a run as a folder that Hugging Face's classes load.

    Args:
        run: of a decoder-only or a masked language model.
        out: a folder that is not there yet, or empty.
        checkpoint: best, latest, or a checkpoint's name.

    Raises:
        ModelError: the run is of another kind, or no GPT-2, Llama or BERT is such a model; the message names the key.
        UsageError: ``out`` is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")
    write = _write_masked if load_recipe(run).get("task") == "masked" else _write_gpt
    write_folder(out, *write(run, checkpoint))
    return out


def _write_gpt(run: Path, checkpoint: str) -> tuple[Tree, Tensors, dict[str, str]]:
    """Returns the config, tensors and tokenizer files of a decoder-only model."""
    found = LanguageModel.load(run, checkpoint=checkpoint, device="cpu")
    if not isinstance(found.model, GPT):
        sizes = language_model.sizes_of(found.recipe.model)
        raise ModelError(f"run {str(run)!r} is {sizes}: Hugging Face has no class for it")
    ids, tokenizer = found.tokenizer.ids, found.tokenizer
    named = {"eos_id": ids.eos, "bos_id": tokenizer.begin, "pad_id": None if ids.pad == ABSENT else ids.pad}
    vocab_size = tokenizer.vocab_size
    config, tensors = gpt_to_hugging_face(found.model.config, found.model.state_dict(), vocab_size=vocab_size, **named)
    return config, tensors, write_tokenizer(tokenizer, template="begin" if found.marks else "plain")


def _write_masked(run: Path, checkpoint: str) -> tuple[Tree, Tensors, dict[str, str]]:
    """Returns the same of a masked language model."""
    found = MaskedModel.load(run, checkpoint=checkpoint, device="cpu")
    tokenizer = found.tokenizer
    config, tensors = bert_to_hugging_face(
        found.model.config,
        found.model.state_dict(),
        kind="pretraining" if found.recipe.masked.next_sentence else "masked",
        vocab_size=tokenizer.vocab_size,
        pad_id=None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad,
    )
    return config, tensors, write_tokenizer(tokenizer, template="segments")


def _card(run: Path, found: Imported) -> str:
    lines = "\n".join(f"    {line}" for line in found.lines())
    is_masked = isinstance(found.recipe, MaskedRecipe)
    what, preset, text = ("masked ", "bert-further", "... [MASK] ...") if is_masked else ("", "gpt-finetune", "...")
    return f"""# {run.name}

A {what}language model that was not trained here but imported.

{lines}

Use it:

    clearhead {VERBS[found.recipe.task]} {run} "{text}"
    clearhead train {preset} --from {run} --data FILE
"""
