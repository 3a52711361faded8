"""Writes the model of a run as a folder for another library, with its certificate: ``clearhead export``."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from clearhead.arguments import checked, fitting
from clearhead.config import Tree
from clearhead.data.corpus import NoSplitError
from clearhead.errors import ClearheadError, ModelError, UsageError
from clearhead.export.certificate import write_certificate
from clearhead.export.file import NAME
from clearhead.export.onnx.write import checked_opset
from clearhead.interop.folder import new_folder, write_files
from clearhead.progress import silent
from clearhead.ranges import CountOrZero, MostLoss
from clearhead.verbs.exports.cards import card_of
from clearhead.verbs.exports.certify import Compared, compare, evidence_of, predicate_of, verdict_of
from clearhead.verbs.exports.formats import FORMATS, Source, Target
from clearhead.verbs.exports.one_file import check_file_name, new_file
from clearhead.verbs.exports.sign import check_key, sign_folder
from clearhead.verbs.exports.targets import check_target

Note = Callable[[str], Any]
"""Called with a line that a user should read."""


@dataclass(frozen=True)
class Certify:
    """How an exported folder is compared with its run."""

    data: str | Path | None = None
    """A text file or a folder of them, as for ``evaluate``; None compares on random pieces."""
    lines: CountOrZero = 200
    """Lines of the valid split; 0 compares nothing."""
    max_loss: MostLoss | None = None
    """How much worse weights that are stored smaller may make the model: points of BLEU, accuracy or correlation, or
    percent of perplexity; None is 0.5, or 1 of perplexity."""
    other_pieces: bool = False
    """Whether the folder is kept where its tokenizer cuts some texts into other pieces."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(Certify, include_extras=True).items():
            object.__setattr__(self, name, fitting(getattr(self, name), kind, name))

    @property
    def text(self) -> Path | None:
        """``data`` as a path."""
        return None if self.data is None else Path(self.data)


DEFAULT = Certify()


@checked
def export_run(  # noqa: PLR0913 - all that decides what is written and kept, by name
    run: str | Path,
    out: str | Path,
    *,
    target: Target = "hf",
    quantize: str | None = None,
    opset: int | None = None,
    checkpoint: str = "best",
    certify: Certify = DEFAULT,
    sign: str | Path | None = None,
    note: Note = silent,
) -> Path:
    """Writes the model of a run as a folder for another library, and beside it ``certificate.json``.

    Args:
        run: its directory.
        out: a folder that does not exist yet or is empty, or a file for the target ``file``; it is there when all of it
            is written.
        target: hf, for Hugging Face's classes; onnx, for ONNX Runtime, Optimum and transformers.js; ctranslate2;
            gguf, for llama.cpp; or file, which clearhead itself runs without PyTorch.
        quantize: how the weights are stored, a word of ``FORMATS[target]``; None is its first one.
        opset: version of ONNX's operators, 18 or 23; None is 23.
        checkpoint: best, latest, or the name of a checkpoint.
        certify: how the folder is compared with the run before it is kept.
        sign: a private key, in a PEM file, with which the folder is signed.
        note: called with what was compared, in one line, and with a line for each graph of ONNX.

    Raises:
        ModelError: the other library has no such model; or what was written differs from the run, or is worse by more
            than ``certify.max_loss``, and is not kept.
        UsageError: ``out`` is taken, the target does not store weights so or has no such opset, or the key cannot be
            used.
        DataError: the folder cannot be written, or the text not read.
    """
    run, out, sign = Path(run), Path(out), None if sign is None else Path(sign)
    if target == "file":
        check_file_name(out)
    else:
        check_out(out)
    stored = FORMATS[target].stored(target, quantize)
    if sign is not None:
        if target == "file":
            raise UsageError("--sign: must be left out with --to file, which has no place for a signature")
        check_key(sign)
    checked_opset(opset, target)
    source = replace(Source.open(run, checkpoint=checkpoint), opset=opset, say=note)
    export_source(source, out, target, stored, certify=certify, sign=sign, note=note)
    return out


def check_out(out: Path) -> None:
    """Raises UsageError if a folder is there and not empty."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"folder {str(out)!r} is taken: name another with --out")


def export_source(
    source: Source, out: Path, target: Target, stored: str, *, certify: Certify, sign: Path | None, note: Note
) -> Tree:
    """Writes a loaded run as ``export_run`` does, weights stored as said; returns the predicate of the certificate."""
    check_target(target, source.family, source.trained.recipe)
    with new_file(out) if target == "file" else new_folder(out) as folder:
        FORMATS[target].write(source, folder, stored)
        compared = _compared(source, folder, target, certify, note) if certify.lines else None
        verdict = verdict_of(target, stored, compared, certify.max_loss, other_pieces=certify.other_pieces)
        if target != "file":
            write_files(folder, {"README.md": card_of(source, target, stored, compared)})
        predicate = {**predicate_of(source, folder, target, stored, compared), "verdict": verdict}
        write_certificate(folder, predicate)
        if sign is not None:
            sign_folder(folder, sign)
    if compared is not None:
        note(line_of(predicate))
    return predicate


def _compared(source: Source, folder: Path, target: Target, certify: Certify, note: Note) -> Compared | None:
    try:
        evidence = evidence_of(source, certify.text, certify.lines)
    except NoSplitError as error:
        note(f"{error}; compared on random pieces instead")
        evidence = evidence_of(source, None, certify.lines)
    try:
        return compare(source, folder, target, evidence)
    except ImportError as error:
        note(not_run(target, error))
        return None


def not_run(target: Target, error: ImportError) -> str:
    """Says that a folder was not run, and what to install."""
    extra = FORMATS[target].extra
    return f"--to {target}: not run, since {error.name or extra} is missing: pip install 'clearhead[{extra}]'"


def line_of(predicate: Tree) -> str:
    """Returns what a certificate says, in one line."""
    inputs, logits, quality = predicate["inputs"], predicate["logits"], predicate.get("quality")
    runtime = predicate["runtime"]
    parts = [f"{predicate['format']['name']}: {predicate['verdict']}"]
    if inputs["split"] is None:
        parts.append(f"on {inputs['drawn']} rows of random pieces outputs differ by {logits['max_abs']:.1g} at most")
        parts.append("--data names the text to compare on")
    else:
        parts.append(f"on {inputs['count']} lines outputs differ by {logits['max_abs']:.1g} at most")
    if predicate["tokens"]:
        parts.append(f"{predicate['tokens']['equal']} of {predicate['tokens']['of']} greedy texts are the same")
    if quality:
        low, high = (round(value, 2) + 0.0 for value in quality["interval95"])  # never -0.00
        change = f"{quality['before']:.2f} to {quality['after']:.2f}"
        parts.append(f"{quality['metric']} {change} (95 % of the loss: {low:.2f} to {high:.2f} {quality['unit']})")
    return f"{'; '.join(parts)} (run by {runtime['name']} {runtime['version']})"


def export_all(
    run: str | Path,
    out: str | Path,
    *,
    checkpoint: str = "best",
    certify: Certify = DEFAULT,
    sign: str | Path | None = None,
    note: Note = silent,
) -> dict[Target, Path | ClearheadError]:
    """Writes a run in every format that can hold it, each in a folder of its name in ``out``.

    Arguments are those of ``export_run``; weights are stored whole.

    Returns:
        By format its folder, or why it was not written.

    Raises:
        ModelError: no format can hold it, or the run cannot be loaded.
        UsageError: see ``export_run``.
    """
    run, out, sign = Path(run), Path(out), None if sign is None else Path(sign)
    check_out(out)
    if sign is not None:
        check_key(sign)
    source, written = Source.open(run, checkpoint=checkpoint), dict[Target, Path | ClearheadError]()
    words: dict[str, Any] = {"certify": certify, "note": note}
    for target, entry in FORMATS.items():
        place = out / (NAME if target == "file" else target)
        try:
            export_source(
                source,
                place,
                target,
                entry.stored(target, None),
                **{**words, "sign": None if target == "file" else sign},
            )
            written[target] = place
        except (ModelError, UsageError) as error:
            written[target] = error
    if not any(isinstance(result, Path) for result in written.values()):
        with contextlib.suppress(OSError):
            out.rmdir()
        reasons = "; ".join(f"{target}: {error}" for target, error in written.items())
        raise ModelError(f"run {str(run)!r} goes to no format: {reasons}")
    return written
