"""``clearhead export``: a folder for another library, or one line that says why not."""

from pathlib import Path

import pytest

from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exchange import import_run
from tests.foreign import write_gpt2
from tests.toy import assert_one_line, clearhead


def test_a_run_becomes_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, _ = import_run(write_gpt2(tmp_path / "theirs"), tmp_path / "run")
    said = clearhead(capsys, "export", run, "--to", "hf", "--out", tmp_path / "out")
    assert (said.code, said.out) == (0, f"{tmp_path / 'out'}\n")
    names = {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"certificate.json", "README.md"}
    assert said.err.startswith("hf: not compared; on 8 rows of random pieces outputs differ by ")
    assert_one_line(clearhead(capsys, "export", run, "--to", "hf", "--out", tmp_path / "out"), 2, "is taken")


def test_what_cannot_be_written(toy_run: Path, toy_lm_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = toy_run.parent / "exported"
    assert_one_line(clearhead(capsys, "export", toy_run, "--to", "gguf", "--out", out), 4, "no such encoder-decoder")
    assert_one_line(clearhead(capsys, "export", toy_lm_run, "--to", "hf", "--out", out), 4, "must be 'rms'")
    assert_one_line(clearhead(capsys, "export", toy_lm_run, "--to", "tf", "--out", out), 2, "tf")
    assert not out.exists()


def test_a_translator_translates_in_ctranslate2_as_here(
    toy_run: Path, toy_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Greedily, from the written tokenizer's own pieces, every held-out line piece for piece."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it reads what is written")
    from tokenizers import Tokenizer

    lines = (toy_data / "test.zh").read_text(encoding="utf-8").splitlines()
    out, translator = tmp_path / "fast", Translator.load(toy_run)
    assert clearhead(capsys, "export", toy_run, "--to", "ctranslate2", "--out", out).code == 0
    tokenizer = Tokenizer.from_file(str(out / "tokenizer.json"))
    pieces = [tokenizer.encode(line, add_special_tokens=False).tokens for line in lines]
    options = {"beam_size": 1, "min_decoding_length": 0, "max_input_length": 0, "disable_unk": True}
    reader = ctranslate2.Translator(str(out), inter_threads=1, intra_threads=1)
    found = [result.hypotheses[0] for result in reader.translate_batch(pieces, max_decoding_length=63, **options)]
    ours = translator.translate(lines, beam=1, split="never", limit=63)
    wanted = [
        [translator.tokenizers.tgt.piece(index) for index in one.target_ids[: len(one.target_ids) - one.complete]]
        for one in ours
    ]
    assert sum(one.complete for one in ours) > len(ours) / 2
    assert found == wanted
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in out.iterdir())


def test_weights_are_stored_as_asked_and_only_as_the_target_can(
    toy_lm_run: Path, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = []
    for kind in ("float32", "int8"):
        out = tmp_path / kind
        words = ["export", toy_lm_run, "--to", "ctranslate2", "--quantize", kind, "--out", out]
        assert clearhead(capsys, *words).code == 0
        sizes.append((out / "model.bin").stat().st_size)
    assert sizes[1] < sizes[0] / 2
    for words, code, rule in (
        ([toy_lm_run, "--to", "hf", "--quantize", "int8"], 2, "--quantize 'int8': must be left out with --to hf"),
        ([toy_lm_run, "--to", "gguf", "--quantize", "int8"], 2, "must be one of f32, f16, q8_0, q4_0, q5_0"),
        ([toy_run, "--to", "gguf"], 4, "llama.cpp has no such encoder-decoder"),
    ):
        assert_one_line(clearhead(capsys, "export", *words, "--out", tmp_path / "no"), code, rule)
    assert {path.name for path in tmp_path.iterdir()} == {"float32", "int8"}, "nothing half written is left"


@pytest.mark.parametrize("target", ["ctranslate2", "onnx"])
def test_what_is_no_transformer_is_refused(
    target: str, toy_baselines: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in toy_baselines.values():
        said = clearhead(capsys, "export", run, "--to", target, "--out", tmp_path / "no")
        assert_one_line(said, 4, f"--to {target} takes Transformers alone")


def test_an_onnx_folder_shows_its_graphs_and_has_an_opset(
    toy_classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it reads what is written")
    words = ["export", toy_classifier, "--to", "onnx", "--out", tmp_path / "out"]
    said = clearhead(capsys, *words, "--opset", 18, "--quantize", "q8")
    assert (said.code, said.out) == (0, f"{tmp_path / 'out'}\n")
    assert [line.split(":")[0] for line in said.err.splitlines()][:4:2] == ["model.onnx", "model_quantized.onnx"]
    names = {"config.json", "tokenizer.json", "tokenizer_config.json", "onnx", "certificate.json", "README.md"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for more, rule in (
        (["--opset", 9], "--opset 9: must be 18 or 23"),
        (["--quantize", "int8"], "--quantize 'int8': must be one of float32, q8, q4 with --to onnx"),
    ):
        assert_one_line(clearhead(capsys, *words[:-1], tmp_path / "no", *more), 2, rule)
    assert not (tmp_path / "no").exists()


def test_everything_that_can_hold_a_model_and_a_check_of_it(
    toy_lm_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = toy_lm_run.parent / "data", tmp_path / "out"
    said = clearhead(capsys, "export", toy_lm_run, "--to", "all", "--data", data, "--certify", 3, "--out", out)
    assert (said.code, said.out) == (0, f"{out / 'onnx'}\n{out / 'ctranslate2'}\n{out / 'model.clearhead'}\n")
    assert "ctranslate2: equal; on 3 lines" in said.err
    assert "onnx: equal; on 3 lines" in said.err
    assert "file: equal; on 3 lines" in said.err
    for target in ("hf", "gguf"):
        assert f"not to {target}: " in said.err
    assert {path.name for path in out.iterdir()} == {"onnx", "ctranslate2", "model.clearhead"}
    said = clearhead(capsys, "export", "--verify", out / "ctranslate2", toy_lm_run, "--data", data)
    assert said.code == 0
    assert said.out.endswith("computes from them what the run does, on 3 lines\n")
    (out / "ctranslate2" / "more").touch()
    assert_one_line(clearhead(capsys, "export", "--verify", out / "ctranslate2"), 4, "more' is not in the certificate")


def test_what_goes_nowhere_and_options_that_do_not_go_together(
    toy_baselines: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = toy_baselines["ngram"], tmp_path / "out"
    said = clearhead(capsys, "export", run, "--to", "all", "--out", out)
    assert_one_line(said, 4, "goes to no format: hf: ", "; gguf: ")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    for words, code, rule in (
        ([run, "--to", "hf"], 2, "Missing --out"),
        (["--to", "hf", "--out", out], 2, "Missing RUN"),
        ([run, "--to", "all", "--quantize", "int8", "--out", out], 2, "--quantize: must be left out with --to all"),
        ([run, "--to", "hf", "--out", out, "--max-loss", "101"], 2, "--max-loss"),
        ([run, "--to", "hf", "--out", out, "--certify", "-1"], 2, "--certify"),
        ([tmp_path / "run", "--to", "hf", "--out", out], 4, "has no recipe.toml"),
        (["--verify", tmp_path / "run", "--out", out], 2, "--out: must be left out with --verify"),
        (["--verify", tmp_path / "run"], 4, "has no certificate.json"),
        (["--verify", tmp_path / "no"], 4, "no such directory"),
    ):
        assert_one_line(clearhead(capsys, "export", *words), code, rule)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
