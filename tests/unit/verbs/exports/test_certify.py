"""A folder is compared before it is kept: what a certificate says, and what is not written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.errors import ModelError
from clearhead.export import ctranslate2 as writer
from clearhead.export.compare import Same
from clearhead.export.ctranslate2_runtime import CTranslate2
from clearhead.verbs.exports.run import Certify, export_run

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it runs what is written here")


def certificate(folder: Path) -> Any:
    return json.loads((folder / "certificate.json").read_text())["predicate"]


def test_a_translator_is_equal_there(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    words: Any = {"certify": Certify(toy_data, 5), "note": notes.append}
    folder = export_run(toy_run, tmp_path / "out", target="ctranslate2", **words)
    said = certificate(folder)
    assert said["verdict"] == "equal"
    assert said["source"]["checkpoint"] == "step-00000120"
    assert said["source"]["weights"] == "ema"
    assert said["runtime"]["name"] == "ctranslate2"
    assert said["inputs"]["count"] == 5
    everything = {"equal": 5, "of": 5, "first_difference": None}
    assert said["tokenization"] == said["text"] == everything
    assert said["tokens"] == {"mode": "greedy", **everything, "ties": 0}
    assert 0 < said["logits"]["max_abs"] <= said["logits"]["bound"] < 1e-3
    assert said["quality"]["before"] == said["quality"]["after"]
    assert said["bytes"]["after"] == sum(p.stat().st_size for p in folder.iterdir() if p.name != "certificate.json")
    assert min(said["speed"]["before"], said["speed"]["after"]) > 0
    for path in folder.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes()
    (line,) = notes
    assert line.startswith("ctranslate2: equal; on 5 lines outputs differ by ")
    assert "5 of 5 greedy texts are the same" in line


def test_a_language_model_has_its_perplexity(toy_lm_run: Path, tmp_path: Path) -> None:
    certify = Certify(toy_lm_run.parent / "data", 4)
    said = certificate(export_run(toy_lm_run, tmp_path / "out", target="ctranslate2", certify=certify))
    assert (said["verdict"], said["quality"]["metric"], said["quality"]["unit"]) == ("equal", "perplexity", "%")
    assert said["logits"]["of"] == "logits"
    assert abs(said["logits"]["mean_kl"]) < 1e-6


def test_a_scaled_tensor_is_not_written(
    toy_run: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_bin = writer.model_bin

    def scaled(specification: Any, variables: Any, quantize: Any) -> bytes:
        name = "decoder/layer_1/ffn/linear_1/weight"
        return model_bin(specification, {**variables, name: variables[name] * 1.001}, quantize)

    monkeypatch.setattr(writer, "model_bin", scaled)
    for certify in (Certify(toy_data, 5), Certify()):
        with pytest.raises(ModelError, match=r"^--to ctranslate2: .*outputs differ by \S+, more than \S+: not written"):
            export_run(toy_run, tmp_path / "out", target="ctranslate2", certify=certify)
    assert list(tmp_path.iterdir()) == []


def test_another_tokenizer_or_other_texts_are_not_written(
    toy_run: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: Any = {"target": "ctranslate2", "certify": Certify(toy_data, 5)}
    encode, greedy, decode = CTranslate2.encode, CTranslate2.greedy, CTranslate2.decode

    def other_ids(self: Any, texts: Any) -> Any:
        ids = encode(self, texts) or []
        return [row[1:] if at == 3 else row for at, row in enumerate(ids)]

    def other_pieces(self: Any, rows: Any, limits: Any) -> Any:
        return [[*ids[:-1], 7] for ids in greedy(self, rows, limits) or []]

    def other_text(self: Any, ids: Any) -> Any:
        return [text.upper() for text in decode(self, ids) or []]

    changed = {"encode": other_ids, "greedy": other_pieces, "decode": other_text}
    rules = {"encode": "pieces there", "greedy": "greedy text", "decode": "reads"}
    for name, change in changed.items():
        with monkeypatch.context() as patched:
            patched.setattr(CTranslate2, name, change)
            with pytest.raises(ModelError, match=rules[name]):
                export_run(toy_run, tmp_path / "out", **words)
    with monkeypatch.context() as patched:  # which quantized weights do not excuse either
        patched.setattr(CTranslate2, "encode", other_ids)
        with pytest.raises(ModelError, match=r"1 of 5 texts have other pieces there, such as .*: not written; --allow"):
            export_run(toy_run, tmp_path / "out", quantize="int8", **words)
        assert list(tmp_path.iterdir()) == []
        allowed = {**words, "certify": Certify(toy_data, 5, other_pieces=True)}
        said = certificate(export_run(toy_run, tmp_path / "out", **allowed))
    assert (said["verdict"], said["tokenization"]["equal"]) == ("close", 4)


def test_smaller_weights_may_lose_a_little(toy_lm_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_lm_run.parent / "data"
    words: Any = {"target": "ctranslate2", "quantize": "int8"}
    said = certificate(export_run(toy_lm_run, tmp_path / "int8", certify=Certify(data, 8, 5.0), **words))
    assert said["verdict"] == "close"
    low, high = said["quality"]["interval95"]
    assert low <= said["quality"]["loss"] <= high < 5
    assert said["logits"]["max_abs"] > said["logits"]["bound"]
    model_bin = writer.model_bin

    def noisy(specification: Any, variables: Any, quantize: Any) -> bytes:
        torch.manual_seed(0)
        changed = {n: v + 0.3 * torch.randn_like(v) if v.ndim == 2 else v for n, v in variables.items()}
        return model_bin(specification, changed, quantize)

    monkeypatch.setattr(writer, "model_bin", noisy)
    rule = r"--quantize int8: perplexity gets worse by \S+ % \(95 %: \S+ to \S+\), more than --max-loss 1: not written"
    with pytest.raises(ModelError, match=rule):
        export_run(toy_lm_run, tmp_path / "noisy", certify=Certify(data, 8), **words)
    assert not (tmp_path / "noisy").exists()


def test_equally_probable_pieces_may_come_either_way(toy_run: Path) -> None:
    from clearhead.export.ours import Ours
    from clearhead.verbs.exports.certify import _tied, evidence_of
    from clearhead.verbs.exports.formats import Source

    source = Source.open(toy_run)
    evidence = evidence_of(source, None, 1)
    ours = source.ours(evidence)
    (own,) = ours.greedy(evidence.prompts[:1], [6]) or []
    other = [*own[:2], own[2] + 1, *own[3:]]
    assert isinstance(ours, Ours)
    assert not _tied(ours, evidence, 0, own, own, 1e9)
    assert not _tied(ours, evidence, 0, own, other, 1e-6)
    assert _tied(ours, evidence, 0, own, other, 1e9)
    assert not Same.count([own], [other]).all


def test_without_text_random_pieces_are_compared_and_nothing_at_all_if_told_so(toy_run: Path, tmp_path: Path) -> None:
    said = certificate(export_run(toy_run, tmp_path / "drawn", target="ctranslate2"))
    assert (said["verdict"], said["inputs"]["split"], said["inputs"]["drawn"]) == ("not compared", None, 8)
    assert said["logits"]["max_abs"] <= said["logits"]["bound"]
    said = certificate(export_run(toy_run, tmp_path / "none", target="ctranslate2", certify=Certify(lines=0)))
    assert (said["verdict"], said["runtime"]) == ("not compared", None)
    assert "logits" not in said
    assert said["limits"][-1] == "the folder was not run"


def test_a_missing_library_is_named_and_the_folder_is_kept(
    toy_run: Path, toy_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    notes: list[str] = []
    words: Any = {"certify": Certify(toy_data, 5), "note": notes.append}
    said = certificate(export_run(toy_run, tmp_path / "out", target="ctranslate2", **words))
    assert (said["verdict"], said["runtime"]) == ("not compared", None)
    missing = "not run, since ctranslate2 is missing: pip install 'clearhead[ctranslate2]'"
    assert notes == [f"--to ctranslate2: {missing}"]
