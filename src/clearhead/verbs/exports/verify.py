"""Checks an exported folder: its files by the certificate, and by the run that it came from."""

from pathlib import Path
from typing import cast

from clearhead.arguments import checked
from clearhead.config import Tree
from clearhead.engine.weights.file import is_model_file, open_model
from clearhead.errors import ClearheadError, DataError, ModelError
from clearhead.export.certificate import NAME, SIGNATURE, check_files, read_certificate
from clearhead.progress import silent
from clearhead.verbs.exports.certify import compare, evidence_of, source_of, verdict_of
from clearhead.verbs.exports.formats import FORMATS, Source, Target
from clearhead.verbs.exports.run import Note, not_run
from clearhead.verbs.exports.sign import check_signature

# what a message calls the parts of a source, in the order in which they are looked at
_SOURCES = {"tokenizer_sha256": "tokenizer", "recipe_sha256": "recipe", "manifest_sha256": "weights"}


@checked
def verify_folder(
    folder: str | Path,
    run: str | Path | None = None,
    *,
    checkpoint: str = "best",
    data: str | Path | None = None,
    sign: str | Path | None = None,
    note: Note = silent,
) -> str:
    """Checks a folder that was exported; returns what was checked, in one line.

    Args:
        folder: with its ``certificate.json``, or a file of ``--to file``, which holds its own.
        run: the run that it is said to come from; None looks for one of that name in ``runs``, and where there is
            none, checks the files alone.
        checkpoint: of the run.
        data: the text that the certificate is about; None compares on random pieces.
        sign: the public key of who signed it; None does not check a signature.
        note: called with what could not be checked, in one line.

    Raises:
        ModelError: a file is missing, changed or added, the signature or the run is another, or what the folder
            computes is no longer what the run computes.
        DataError: ``data`` is another text than that of the certificate.
    """
    folder = Path(folder)
    predicate, said = _certificate(folder)
    done = [said]
    if sign is not None:
        check_signature(folder, Path(sign))
        done.append("the signature is of that key")
    elif (folder / SIGNATURE).is_file():
        note(f"{SIGNATURE} was not checked: name the public key with --sign")
    source = _source(folder, predicate, Path(run) if run is not None else None, checkpoint)
    if source is None:
        return f"{folder}: {'; '.join(done)}"
    done.append(f"they come from run {str(source.run.path)!r}")
    compared = _compare_again(folder, predicate, source, None if data is None else Path(data), note)
    if compared:
        done.append(compared)
    return f"{folder}: {'; '.join(done)}"


def _certificate(folder: Path) -> tuple[Tree, str]:
    """Checks the files of a folder, or a file that was exported; returns the predicate, and what was checked."""
    if is_model_file(folder):
        predicate = open_model(folder).about.get("certificate")
        if not isinstance(predicate, dict):
            raise ModelError(f"{str(folder)!r} has no certificate: it was not exported")
        return predicate, "it is as it was exported"
    subject, predicate = read_certificate(folder)
    check_files(folder, subject)
    return predicate, f"{len(subject)} files are as they were exported"


def _source(folder: Path, predicate: Tree, run: Path | None, checkpoint: str) -> Source | None:
    """Opens the run, and checks that the folder came from it; None if none is named and there is none of its name."""
    said = predicate["source"]
    if run is None:
        beside = Path("runs") / Path(str(said.get("run"))).name
        try:
            source = Source.open(beside, checkpoint=checkpoint)
            return source if _differing(said, source) is None else None
        except ClearheadError:
            return None
    source = Source.open(run, checkpoint=checkpoint)
    if (part := _differing(said, source)) is not None:
        name, step = said.get("run"), said.get("checkpoint")
        raise ModelError(
            f"{str(folder / NAME)!r}: the {part} of run {str(run)!r} is another: the folder was exported from "
            f"{name}, {step}"
        )
    return source


def _differing(said: Tree, source: Source) -> str | None:
    """Returns what of a run is not as the certificate says; None if all is."""
    there = source_of(source)
    return next((part for key, part in _SOURCES.items() if said.get(key) != there[key]), None)


def _compare_again(folder: Path, predicate: Tree, source: Source, data: Path | None, note: Note) -> str:
    """Compares a folder with its run; returns what was compared, or nothing where its library is missing."""
    target, inputs = predicate["format"].get("name"), predicate["inputs"]
    if target not in FORMATS:
        raise ModelError(f"{str(folder / NAME)!r} is damaged: there is no format {str(target)[:40]!r}")
    target = cast(Target, target)
    stored = FORMATS[target].stored(target, predicate["format"].get("quantize"))
    count = inputs.get("count", 0) + inputs.get("dropped", 0)
    evidence = evidence_of(source, data if count else None, count)
    if not evidence.drawn and evidence.digest != inputs.get("sha256"):
        raise DataError(f"--data {str(data)!r}: its valid split is not the text that the certificate is about")
    try:
        compared = compare(source, folder, target, evidence)
    except ImportError as error:
        note(not_run(target, error))
        return ""
    try:
        verdict = verdict_of(target, stored, compared, _most_loss(predicate), other_pieces=_other_pieces(predicate))
    except ModelError as error:
        raise ModelError(f"{str(folder)!r} is not what its certificate says: {error}") from error
    if not evidence.drawn and verdict != predicate["verdict"]:
        raise ModelError(f"{str(folder / NAME)!r}: says {predicate['verdict']}, and the folder is {verdict}")
    where = f"{len(evidence.rows)} rows of random pieces" if evidence.drawn else f"{len(evidence.rows)} lines"
    return f"{compared.runtime.name} computes from them what the run does, on {where}"


def _other_pieces(predicate: Tree) -> bool:
    """Says whether the folder was kept although its tokenizer cuts some texts into other pieces."""
    same = predicate.get("tokenization")
    return isinstance(same, dict) and same.get("equal") != same.get("of")


def _most_loss(predicate: Tree) -> float | None:
    """Returns the loss of quality that the folder was kept with, and a little for another machine's sums."""
    quality = predicate.get("quality")
    return None if not isinstance(quality, dict) else max(float(quality.get("loss", 0.0)), 0.0) + 0.05
