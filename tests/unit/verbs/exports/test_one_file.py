"""An export that is one file: equal to its run, with its certificate inside, or not there at all."""

from pathlib import Path

import pytest

from clearhead.engine.weights.file import open_model, write_model
from clearhead.errors import DataError, ModelError, UsageError
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.exports.verify import verify_folder
from tests.native import NATIVE

pytestmark = NATIVE


@pytest.fixture(scope="module")
def file(toy_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("file") / "zh-en.clearhead"
    return export_run(toy_run, out, target="file", certify=Certify(lines=4))


def test_the_file_translates_and_holds_its_certificate(file: Path, toy_run: Path) -> None:
    opened = open_model(file)
    certificate = opened.about["certificate"]
    assert certificate["format"] == {"name": "file", "quantize": None}
    assert certificate["logits"]["max_abs"] < 1e-4
    text = "我吃了一个苹果。"
    packed = PackedTranslator.of(opened)
    assert packed.translate(text) == Translator.load(toy_run, device="cpu").translate(text)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_file_is_checked_alone_and_against_its_run(
    file: Path, toy_run: Path, toy_lm_run: Path, tmp_path: Path
) -> None:
    assert verify_folder(file) == f"{file}: it is as it was exported"
    assert "clearhead computes from them what the run does" in verify_folder(file, toy_run)
    with pytest.raises(ModelError, match=r"of run .* is another"):
        verify_folder(file, toy_lm_run)
    damaged = tmp_path / "damaged.clearhead"
    damaged.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(ModelError, match="is damaged: it is cut short"):
        verify_folder(damaged)
    opened = open_model(file)
    write_model(tmp_path / "kept.clearhead", opened.image, {}, {})
    with pytest.raises(ModelError, match="has no certificate: it was not exported"):
        verify_folder(tmp_path / "kept.clearhead")


@pytest.mark.parametrize("quantize", ["bfloat16", "int8", "int4"])
def test_weights_are_stored_smaller(quantize: str, file: Path, toy_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.clearhead"
    export_run(toy_run, out, target="file", quantize=quantize, certify=Certify(lines=0))
    assert open_model(out).weights == quantize
    assert out.stat().st_size < file.stat().st_size


def test_language_models_go_to_one_file_too(toy_lm_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "lm.clearhead"
    export_run(toy_lm_run, out, target="file", certify=Certify(lines=3))
    opened = open_model(out)
    assert (opened.about["task"], opened.about["certificate"]["logits"]["of"]) == ("language_model", "logits")
    assert set(opened.files) == {"tokenizer/text.json"}


def test_what_cannot_be_is_said_and_leaves_nothing(
    toy_run: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for out, match in ((tmp_path / "x", "must end in .clearhead with --to file"), (file, "is taken: name another")):
        with pytest.raises(UsageError, match=match):
            export_run(toy_run, out, target="file")
    with pytest.raises(UsageError, match="--sign: must be left out with --to file"):
        export_run(toy_run, tmp_path / "x.clearhead", target="file", sign="key.pem")
    with pytest.raises(UsageError, match="must be one of float32, bfloat16, int8, int4 with --to file"):
        export_run(toy_run, tmp_path / "x.clearhead", target="file", quantize="q8")
    with pytest.raises(DataError, match="cannot be written: No such file"):
        export_run(toy_run, tmp_path / "no" / "x.clearhead", target="file", certify=Certify(lines=0))
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    with pytest.raises(UsageError, match="engine = 'native': CLEARHEAD_ENGINE is off"):
        export_run(toy_run, tmp_path / "x.clearhead", target="file", certify=Certify(lines=0))
    assert list(tmp_path.iterdir()) == []
