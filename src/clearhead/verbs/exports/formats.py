"""The formats that a run can be exported to, an entry each: how it is written, and what runs it."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from clearhead.engine.choose import Weights, choose
from clearhead.engine.weights.file import write_model as write_file
from clearhead.errors import UsageError
from clearhead.export import ctranslate2_file, file, gguf
from clearhead.export.ctranslate2 import ctranslate2_files
from clearhead.export.ctranslate2_runtime import CTranslate2
from clearhead.export.gguf import write_gguf
from clearhead.export.gguf_runtime import Gguf
from clearhead.export.hf_runtime import HuggingFace
from clearhead.export.onnx import write as onnx
from clearhead.export.onnx.runtime import OnnxRuntime
from clearhead.export.onnx.write import checked_opset, write_onnx
from clearhead.export.ours import Ours
from clearhead.export.runtime import Exportable, Runtime
from clearhead.interop.folder import write_files, write_model
from clearhead.interop.tokenizer import write_tokenizers
from clearhead.models.transformer import Transformer
from clearhead.progress import silent
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.catalog import AnyFamily, family_of_run
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.expanded import beside_packed, open_run
from clearhead.tasks.family import LearnedFamily, Trained
from clearhead.tasks.language_model.writer import has_marks
from clearhead.text.tokenizer import Tokenizer

Target = Literal["hf", "onnx", "ctranslate2", "gguf", "file"]


@dataclass(frozen=True)
class Source:
    """The loaded run that is exported."""

    run: SavedRun
    family: AnyFamily
    trained: Trained
    opset: int | None = None
    """Version of ONNX's operators; None is the newest that is written."""
    say: Callable[[str], Any] = silent
    """Called with a line for each graph of ONNX."""

    @classmethod
    def open(cls, run: Path, *, checkpoint: str = "best") -> "Source":
        """Loads a run on the CPU; raises ModelError if it has no such checkpoint, or a damaged one."""
        opened = open_run(run, checkpoint=checkpoint)
        family = family_of_run(opened)
        return cls(opened, family, family.load(opened, device="cpu"))

    @property
    def model(self) -> Exportable:
        """The model, which can be exported: others are refused before, by ``targets.check_target``."""
        model = self.trained.model
        assert isinstance(model, Exportable)
        return model

    def ours(self, evidence: Evidence) -> Ours:
        """Returns the model as a runtime."""
        return Ours(self.model, ends=evidence.ends, never=evidence.never, scale=evidence.scale)

    @property
    def parts(self) -> TextParts:
        """Its tokenizers and labels."""
        assert isinstance(self.family, LearnedFamily)
        return self.family.parts(self.run.trained_path)


@dataclass(frozen=True)
class Format:
    """A way to write a model."""

    quantizations: tuple[str, ...]
    """How weights can be stored, the default first; empty where there is one way."""
    write: Callable[[Source, Path, str], None]
    """Writes the model of a source into a folder, its weights stored as said; raises ModelError for a model that the
    format cannot represent."""
    run: Callable[[Source, Path, Evidence], Runtime]
    """Loads what was written; raises ImportError where the library is not installed."""
    extra: str
    """What installs that library: ``pip install 'clearhead[EXTRA]'``."""
    exact: tuple[str, ...] = ("float32", "f32")
    """Ways to store weights that lose nothing."""
    notes: tuple[str, ...] = ()
    """What a reader of the certificate should know of the format."""

    def stored(self, target: str, quantize: str | None) -> str:
        """Returns how weights are to be stored; raises UsageError if the format does not store them so."""
        if quantize is None:
            return self.quantizations[0] if self.quantizations else "float32"
        if not self.quantizations:
            raise UsageError(f"--quantize {quantize!r}: must be left out with --to {target}")
        if quantize not in self.quantizations:
            known = ", ".join(self.quantizations)
            raise UsageError(f"--quantize {quantize!r}: must be one of {known} with --to {target}")
        return quantize


def _write_hugging_face(source: Source, folder: Path, quantize: str) -> None:
    write_model(folder, *source.family.to_hugging_face(source.trained))


def _write_onnx(source: Source, folder: Path, quantize: str) -> None:
    words: dict[str, Any] = {"quantize": quantize, "opset": checked_opset(source.opset), "say": source.say}
    marks = functools.partial(has_marks, source.run.path)
    write_onnx(folder, source.model, source.parts, marks=marks, **words)


def _write_gguf(source: Source, folder: Path, quantize: str) -> None:
    model, parts, name = source.model, source.parts, source.trained.recipe.name
    assert not isinstance(model, Transformer), "refused before"
    write_gguf(folder / f"{name}.gguf", model, parts.tokenizer, name=name, quantize=cast(Any, quantize))


def _write_ctranslate2(source: Source, folder: Path, quantize: str) -> None:
    """Writes the files that CTranslate2 reads, and the tokenizers that give it pieces."""
    model, parts = source.model, source.parts
    crossed = parts.target is not None
    src, tgt = parts.tokenizer, parts.target or parts.tokenizer
    pieces = {
        side: _pieces(tokenizer)
        for side, tokenizer in ({"source": src, "target": tgt} if crossed else {"": tgt}).items()
    }
    files = ctranslate2_files(model, pieces, ids=tgt.ids, quantize=cast(Any, quantize))
    write_files(folder, {**files, **write_tokenizers(src, tgt, template="end" if crossed else "plain")})


def _write_file(source: Source, folder: Path, quantize: str) -> None:
    choice = choose(source.model, cast(Any, quantize), "native")
    packing = source.trained.packing
    assert packing is not None, "it was loaded from a run"
    about, files = beside_packed(source.model) if quantize == "float32" else ({}, {})
    write_file(folder / file.NAME, choice.image(), {**packing.about, **about}, {**packing.files, **files})


def _run_file(source: Source, folder: Path, evidence: Evidence) -> Runtime:
    words: dict[str, Any] = {"ends": evidence.ends, "never": evidence.never, "scale": evidence.scale}
    return file.NativeFile(folder, source.model, **words)


def _pieces(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.piece(index) for index in range(tokenizer.vocab_size)]


def _run_ctranslate2(source: Source, folder: Path, evidence: Evidence) -> Runtime:
    parts = source.parts
    pieces = _pieces(parts.tokenizer), _pieces(parts.target or parts.tokenizer)
    return CTranslate2(folder, source.model, pieces=pieces, ends=evidence.ends, never=evidence.never)


def _run_gguf(source: Source, folder: Path, evidence: Evidence) -> Runtime:
    (path,) = folder.glob("*.gguf")
    model = source.model
    assert not isinstance(model, Transformer)
    words: dict[str, Any] = {"ends": evidence.ends, "never": evidence.never, "scale": evidence.scale}
    return Gguf(path, model, source.parts.tokenizer, **words)


def _run_hugging_face(source: Source, folder: Path, evidence: Evidence) -> Runtime:
    return HuggingFace(folder, source.model)


def _run_onnx(source: Source, folder: Path, evidence: Evidence) -> Runtime:
    return OnnxRuntime(folder, source.model, ends=evidence.ends, never=evidence.never)


FORMATS: Mapping[Target, Format] = {
    "hf": Format((), _write_hugging_face, _run_hugging_face, "hf"),
    "onnx": Format(get_args(onnx.Quantization), _write_onnx, _run_onnx, "onnx"),
    "ctranslate2": Format(
        get_args(ctranslate2_file.Quantization),
        _write_ctranslate2,
        _run_ctranslate2,
        "ctranslate2",
        notes=("called with min_decoding_length=0, max_input_length=0 and special pieces suppressed",),
    ),
    "gguf": Format(
        get_args(gguf.Quantization),
        _write_gguf,
        _run_gguf,
        "gguf",
        notes=("the file was read back into clearhead's own model: llama.cpp was not run",),
    ),
    "file": Format(get_args(Weights), _write_file, _run_file, "run", notes=("for the native engine, on a CPU",)),
}
"""By the word of ``--to``."""
