"""Models from and to folders in Hugging Face's layout: what ``clearhead import`` and ``clearhead export`` do."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from clearhead.checkpoint import Checkpoint, load_matching, model_tensors, save_checkpoint
from clearhead.config import Tree, as_tree
from clearhead.data.labelled import Labels
from clearhead.errors import ModelError, UsageError
from clearhead.interop.bert import bert_to_hugging_face
from clearhead.interop.folder import write_folder
from clearhead.interop.gpt import gpt_to_hugging_face
from clearhead.interop.marian import marian_to_hugging_face, write_marian_tokenizers
from clearhead.interop.spelling import Tensors, demand
from clearhead.interop.tokenizer import SETTINGS, write_tokenizer
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.runs.directory import create_run, new_run, write_text
from clearhead.runs.pointers import point_to
from clearhead.runs.recipes import VERBS, load_recipe, save_recipe
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.imported import Imported, read_model
from clearhead.tasks.language_model import recipe as language_model
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation.translator import Translator
from clearhead.text.special import ABSENT

Written = tuple[Tree, Tensors, Mapping[str, str | bytes]]  # config, tensors, tokenizer files
# task -> what its runs are called, what trains them further, and what a text of theirs is
KNOWN = {
    "language_model": ("language model", "train gpt-finetune --from {} --data FILE", '"..."'),
    "masked": ("masked language model", "train bert-further --from {} --data FILE", '"... [MASK] ..."'),
    "translation": ("translator", "evaluate {} --data DIR --split test", '"..."'),
    "classify": ("classifier", "train classify --from {} --data DIR", '"..."'),
}


def import_run(folder: Path, out: Path | None = None, *, src: str = "", tgt: str = "") -> tuple[Path, Imported]:
    """Makes a run of a folder: recipe, tokenizer, one checkpoint at step 0, a model card.

    Args:
        folder: in Hugging Face's layout.
        out: the run directory; None is the next free ``runs/NAME-NNN``.
        src: see ``read_model``.
        tgt: see ``read_model``.

    Raises:
        ModelError: see ``read_model``.
        UsageError: ``out`` is taken; see ``read_model``.
    """
    found = read_model(folder, src=src, tgt=tgt)
    recipe = found.recipe
    torch.manual_seed(recipe.train.seed)  # of what is new
    net = found.build()
    load_matching(net, found.tensors, str(folder))
    run = create_run(out) if out is not None else new_run(recipe.name)
    save_recipe(run, as_tree(recipe))
    found.save_text_parts(run)
    checkpoint = run / "checkpoints" / "step-00000000"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(net)}, {"step": 0}))
    point_to(run, "latest", checkpoint)
    write_text(run / "README.md", _card(run, found))
    return run, found


def export_run(run: Path, out: Path, *, checkpoint: str = "best") -> Path:
    """Writes the model of a run as a folder that Hugging Face's classes load.

    Args:
        run: of a decoder-only or a masked language model, of a classifier or a translator.
        out: a folder that is not there yet, or empty.
        checkpoint: best, latest, or a checkpoint's name.

    Raises:
        ModelError: the run is of another kind, or nothing of theirs is such a model; the message names the key.
        UsageError: ``out`` is taken.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")
    match load_recipe(run).get("task"):
        case "masked":
            written = _write_masked(run, checkpoint)
        case "classify":
            written = _write_classifier(run, checkpoint)
        case "translation" | None:
            written = _write_translator(run, checkpoint)
        case _:
            written = _write_gpt(run, checkpoint)
    write_folder(out, *written)
    return out


def _write_gpt(run: Path, checkpoint: str) -> Written:
    found = LanguageModel.load(run, checkpoint=checkpoint, device="cpu")
    if not isinstance(found.model, GPT):
        sizes = language_model.sizes_of(found.recipe.model)
        raise ModelError(f"run {str(run)!r} is {sizes}: Hugging Face has no class for it")
    ids, tokenizer = found.tokenizer.ids, found.tokenizer
    named = {"eos_id": ids.eos, "bos_id": tokenizer.begin, "pad_id": None if ids.pad == ABSENT else ids.pad}
    vocab_size = tokenizer.vocab_size
    config, tensors = gpt_to_hugging_face(found.model.config, found.model.state_dict(), vocab_size=vocab_size, **named)
    return config, tensors, write_tokenizer(tokenizer, template="begin" if found.marks else "plain")


def _write_masked(run: Path, checkpoint: str) -> Written:
    found = MaskedModel.load(run, checkpoint=checkpoint, device="cpu")
    tokenizer = found.tokenizer
    # where words begin with a space theirs puts one behind a mask too, and a text cannot name the mask of unigram
    kinds = {"kind": ("byte_bpe", "wordpiece", "char", "adopted")}
    demand({"kind": tokenizer.config.kind}, kinds, "Hugging Face's tokenizers, with masks: tokenizer.")
    config, tensors = bert_to_hugging_face(
        found.model.config,
        found.model.state_dict(),
        kind="pretraining" if found.recipe.masked.next_sentence else "masked",
        vocab_size=tokenizer.vocab_size,
        pad_id=None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad,
    )
    return config, tensors, write_tokenizer(tokenizer, template="segments")


def _write_classifier(run: Path, checkpoint: str) -> Written:
    found = Classifier.load(run, checkpoint=checkpoint, device="cpu")
    pooling = {"pooling": found.recipe.finetune.pooling}
    demand(pooling, {"pooling": ("first",)}, "Hugging Face's bert: finetune.")
    tokenizer, model = found.tokenizer, found.model
    assert model.kind != "token"
    config, tensors = bert_to_hugging_face(
        model.config,
        _in_units(model.state_dict(), found.labels),
        kind=model.kind,
        vocab_size=tokenizer.vocab_size,
        pad_id=None if tokenizer.ids.pad == ABSENT else tokenizer.ids.pad,
        labels=found.labels.classes,
    )
    return config, tensors, write_tokenizer(tokenizer, template="segments")


def _write_translator(run: Path, checkpoint: str) -> Written:
    found = Translator.load(run, checkpoint=checkpoint, device="cpu")
    src, tgt = found.tokenizers.src, found.tokenizers.tgt
    assert isinstance(found.model, Transformer)
    config, tensors = marian_to_hugging_face(
        found.model.config, found.model.state_dict(), vocab_size=tgt.vocab_size, ids=tgt.ids
    )
    if src is not tgt:
        return config, tensors, write_marian_tokenizers(src, tgt, languages=(found.recipe.src, found.recipe.tgt))
    files = write_tokenizer(tgt, template="end")
    languages = {"source_lang": found.recipe.src, "target_lang": found.recipe.tgt}
    settings = json.dumps(json.loads(files[SETTINGS]) | languages, ensure_ascii=False, indent=2)
    return config, tensors, {**files, SETTINGS: settings + "\n"}


def _in_units(tensors: dict[str, Tensor], labels: Labels) -> dict[str, Tensor]:
    """Returns the weights with which a number is in the labels' own unit, not in deviations from their mean."""
    if labels.classes or (labels.mean, labels.deviation) == (0.0, 1.0):
        return tensors
    weight, bias = (tensors[f"head.out_proj.{kind}"].double() * labels.deviation for kind in ("weight", "bias"))
    head = {"head.out_proj.weight": weight.float(), "head.out_proj.bias": (bias + labels.mean).float()}
    return {**tensors, **head}


def _card(run: Path, found: Imported) -> str:
    lines = "\n".join(f"    {line}" for line in found.lines())
    what, further, text = KNOWN[found.recipe.task]
    return f"""# {run.name}

A {what} that was not trained here but imported.

{lines}

Use it:

    clearhead {VERBS[found.recipe.task]} {run} {text}
    clearhead {further.format(run)}
"""
