"""transformers as a runtime: its outputs, greedy texts and tokenizer are ours, for each class of model."""

from pathlib import Path

import pytest

from clearhead.export.compare import compare_outputs
from clearhead.tasks.family import LearnedFamily
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.formats import FORMATS, Source
from tests.foreign import write_gpt2

pytest.importorskip("transformers", reason="transformers is not installed: it is what runs here")


def folder_of(source: Source, folder: Path) -> Path:
    folder.mkdir()
    FORMATS["hf"].write(source, folder, "float32")
    return folder


@pytest.mark.parametrize("model", ["masked", "pairs"])
def test_an_encoder_with_its_heads(model: str, toy_masked_run: Path, toy_pair_classifier: Path, tmp_path: Path) -> None:
    from clearhead.export.hf_runtime import HuggingFace

    run = {"masked": toy_masked_run, "pairs": toy_pair_classifier}[model]
    source = Source.open(run)
    assert isinstance(source.family, LearnedFamily)
    evidence = source.family.evidence(source.trained, run.parent / "data", 8)
    theirs, ours = HuggingFace(folder_of(source, tmp_path / "out"), source.model), source.ours(evidence)
    assert compare_outputs(ours, theirs, evidence.rows)[0].equal
    assert theirs.encode(evidence.texts) == evidence.ids
    assert theirs.greedy(evidence.rows, [4] * 8) is None


def test_a_language_model_writes_the_same(tmp_path: Path) -> None:
    from clearhead.export.hf_runtime import HuggingFace

    run, _ = import_run(write_gpt2(tmp_path / "theirs"), tmp_path / "run")
    source = Source.open(run)
    assert isinstance(source.family, LearnedFamily)
    evidence = source.family.evidence(source.trained, None, 8)
    theirs, ours = HuggingFace(folder_of(source, tmp_path / "out"), source.model), source.ours(evidence)
    assert compare_outputs(ours, theirs, evidence.rows)[0].equal
    prompts = [*evidence.prompts[:3], evidence.rows[4]]
    written = theirs.greedy(prompts, [6, 1, 4, 3])
    assert written == ours.greedy(prompts, [6, 1, 4, 3])
    assert theirs.decode(written or []) == [source.parts.tokenizer.decode(ids) for ids in written or []]
