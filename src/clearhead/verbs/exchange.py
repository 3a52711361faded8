"""Models from folders in Hugging Face's layout, and models for other libraries: ``import`` and ``export``."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, get_args

from clearhead.checkpoint import Checkpoint, load_matching, model_tensors, save_checkpoint
from clearhead.config import as_tree
from clearhead.errors import ModelError, UsageError
from clearhead.export import ctranslate2_file, gguf
from clearhead.export.ctranslate2 import Exportable, ctranslate2_files
from clearhead.export.gguf import write_gguf
from clearhead.export.onnx import write as onnx
from clearhead.export.onnx.write import write_onnx
from clearhead.interop.folder import new_folder, write_files, write_folder
from clearhead.interop.tokenizer import write_tokenizer
from clearhead.models.transformer import Transformer
from clearhead.progress import silent
from clearhead.runs.card import CardFacts, imported_card
from clearhead.runs.directory import create_run, new_run, write_text
from clearhead.runs.opened import SavedRun
from clearhead.runs.pointers import point_to
from clearhead.runs.recipes import save_recipe
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.catalog import AnyLearnedFamily, family_of_run, read_model
from clearhead.tasks.family import LearnedFamily
from clearhead.tasks.imported import Imported
from clearhead.tasks.language_model.writer import has_marks
from clearhead.tasks.room import build_here
from clearhead.training.generators import seed_generators

Target = Literal["hf", "onnx", "ctranslate2", "gguf"]
QUANTIZATIONS: Mapping[Target, tuple[str, ...]] = {
    "hf": (),
    "onnx": get_args(onnx.Quantization),
    "ctranslate2": get_args(ctranslate2_file.Quantization),
    "gguf": get_args(gguf.Quantization),
}
"""How each target can store weights, its default first."""


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


def export_run(
    run: Path,
    out: Path,
    *,
    target: Target = "hf",
    quantize: str | None = None,
    opset: int | None = None,
    checkpoint: str = "best",
    say: Callable[[str], object] = silent,
) -> Path:
    """Writes the model of a run as a folder for another library.

    Args:
        run: its directory.
        out: a folder that does not exist yet or is empty; it is there when all of it is written.
        target: hf, for Hugging Face's classes; onnx, for ONNX Runtime, Optimum and transformers.js; ctranslate2; or
            gguf, for llama.cpp.
        quantize: how the weights are stored, a word of ``QUANTIZATIONS`` for the target; None is its first one.
        opset: version of ONNX's operators, 18 or 23, which is taken where it is None.
        checkpoint: best, latest, or the name of a checkpoint.
        say: called with a line for each graph of ONNX.

    Raises:
        ModelError: the other library has no such model; the message names the key.
        UsageError: ``out`` is taken, the target does not store weights so, or has no such opset.
        DataError: the folder cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")
    kinds = QUANTIZATIONS[target]
    if quantize is not None and quantize not in kinds:
        if kinds:
            raise UsageError(f"--quantize {quantize!r}: must be one of {', '.join(kinds)} with --to {target}")
        raise UsageError(f"--quantize {quantize!r}: must be left out with --to {target}")
    version = onnx.checked_opset(opset, target)
    opened = SavedRun.open(run, checkpoint=checkpoint)
    family = family_of_run(opened)
    trained = family.load(opened, device="cpu")
    if target == "hf":
        config, tensors, files = family.to_hugging_face(trained, str(run))
        write_folder(out, config, tensors, files)
        return out
    model = trained.model
    if not isinstance(family, LearnedFamily) or not isinstance(model, Exportable):
        raise ModelError(f"run {str(run)!r} is {type(model).__name__}: --to {target} takes Transformers alone")
    parts = family.parts(opened.trained_path)
    with new_folder(out) as folder:
        if target == "ctranslate2":
            write_files(folder, _ctranslate2(model, parts, quantize or kinds[0]))
        elif target == "onnx":
            marks = functools.partial(has_marks, opened.path)
            write_onnx(folder, model, parts, marks=marks, quantize=cast(Any, quantize), opset=version, say=say)
        elif parts.target is not None:
            raise ModelError("GGUF: llama.cpp has no such encoder-decoder; take --to ctranslate2")
        else:
            assert not isinstance(model, Transformer)
            name = trained.recipe.name
            path, kind = folder / f"{name}.gguf", cast(Any, quantize or kinds[0])
            write_gguf(path, model, parts.tokenizer, name=name, quantize=kind)
    return out


def _ctranslate2(model: Exportable, parts: TextParts, quantize: str) -> dict[str, str | bytes]:
    """Returns the files that CTranslate2 reads, with the tokenizers that give it pieces."""
    crossed = parts.target is not None
    source, target = parts.tokenizer, parts.target or parts.tokenizer
    pieces = {
        side: [tokenizer.piece(index) for index in range(tokenizer.vocab_size)]
        for side, tokenizer in ({"source": source, "target": target} if crossed else {"": target}).items()
    }
    files: dict[str, str | bytes] = {**ctranslate2_files(model, pieces, ids=target.ids, quantize=cast(Any, quantize))}
    if source is target:
        return {**files, **write_tokenizer(target, template="end" if crossed else "plain")}
    for side, tokenizer in (("source", source), ("target", target)):
        for name, content in write_tokenizer(tokenizer, template="end").items():
            files[f"{side}_{name}"] = content
    return files
