"""ONNX folders of trained runs, read by ONNX Runtime alone: its loops write, fill and judge as clearhead does."""

import builtins
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clearhead.data.segments import collate_segments
from clearhead.errors import ModelError, UsageError
from clearhead.export.onnx import write as written
from clearhead.models.gpt import GPT
from clearhead.nn.layer import BlockConfig
from clearhead.nn.position import RotaryScalingConfig
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exports.run import Certify, export_run
from tests.graphs import small_bert
from tests.once import make_once
from tests.small import assert_near, small, small_gpt

runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: it reads what is written here")
pytest.importorskip("onnx", reason="onnx is not installed")
Ids = list[list[int]]
Arrays = dict[str, NDArray[Any]]
NEVER, BOS, EOS = [0, 1, 3], 1, 2
UNCOMPARED = Certify(lines=0)
pytestmark = pytest.mark.unchecked


@pytest.fixture(scope="session")
def folders(
    suite: Path, toy_run: Path, toy_lm_run: Path, toy_masked_run: Path, toy_classifier: Path
) -> dict[str, Path]:
    """By kind, the exported toy runs; the translator at opset 18 with 8 bits beside, the others at 23."""
    runs = {"lm": toy_lm_run, "masked": toy_masked_run, "classifier": toy_classifier}

    def make(folder: Path) -> None:
        export_run(toy_run, folder / "translator", target="onnx", quantize="q8", opset=18, certify=UNCOMPARED)
        for name, run in runs.items():
            export_run(run, folder / name, target="onnx", certify=UNCOMPARED)

    folder = make_once(suite, "onnx_folders", make)
    return {name: folder / name for name in ("translator", *runs)}


def session(path: Path) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return runtime.InferenceSession(str(path), options)


def row_of_zeros(session: Any, rows: int) -> Arrays:
    """An empty cache: what transformers.js and Optimum begin with."""
    past = [value for value in session.get_inputs() if value.name.startswith("past")]
    return {value.name: np.zeros((rows, value.shape[1], 0, value.shape[3]), np.float32) for value in past}


def next_past(session: Any, results: list[NDArray[Any]]) -> Arrays:
    names = [value.name.replace("present", "past_key_values") for value in session.get_outputs()]
    return dict(zip(names[1:], results[1:], strict=True))


def side_by_side(rows: Ids, *, left: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    width = max(map(len, rows))
    fill = [[0] * (width - len(row)) for row in rows]
    order = [(pad, row) if left else (row, pad) for row, pad in zip(rows, fill, strict=True)]
    mask = [[int(row is part) for part in pair for _ in part] for row, pair in zip(rows, order, strict=True)]
    return np.array([first + last for first, last in order]), np.array(mask)


def translate(folder: Path, rows: Ids, *, suffix: str = "", steps: int = 63) -> Ids:
    """Greedy search by nothing but ONNX Runtime, as ``generation_config.json`` says."""
    encoder, decoder = (session(folder / f"onnx/{name}{suffix}.onnx") for name in ("encoder_model", DECODER))
    ids, mask = side_by_side(rows)
    (memory,) = encoder.run(None, {"input_ids": ids, "attention_mask": mask})
    given = {"encoder_attention_mask": mask, "encoder_hidden_states": memory}
    past, last, texts = row_of_zeros(decoder, len(rows)), np.full((len(rows), 1), BOS), [[] for _ in rows]  # type: ignore[var-annotated]
    for step in range(steps):
        results = decoder.run(None, {"input_ids": last, "use_cache_branch": np.array([step > 0]), **given, **past})
        past, logits = next_past(decoder, results), results[0][:, -1]
        logits[:, NEVER] = -np.inf
        last = logits.argmax(-1)[:, None]
        for text, (index,) in zip(texts, last.tolist(), strict=True):
            if EOS not in text:
                text.append(index)
    return texts


@pytest.mark.parametrize("batch", [1, 48])
def test_a_translator_translates_in_onnx_runtime_as_here(
    batch: int, folders: dict[str, Path], toy_run: Path, toy_data: Path
) -> None:
    """Every line piece for piece and letter for letter, alone and beside longer ones."""
    lines = [line for name in ("train", "test") for line in (toy_data / f"{name}.zh").read_text("utf-8").splitlines()]
    lines = lines[-8:] if batch == 1 else lines
    tokenizer = Tokenizer.from_file(str(folders["translator"] / "tokenizer.json"))
    sources = [encoding.ids for encoding in tokenizer.encode_batch(lines)]
    ours = Translator.load(toy_run).translate(lines, beam=1, split="never", limit=63)
    assert sources == [[*each.source_ids, EOS] for each in ours]
    parts = [sources[at : at + batch] for at in range(0, len(sources), batch)]
    theirs = [text for part in parts for text in translate(folders["translator"], part)]
    assert theirs == [each.target_ids for each in ours]
    assert [tokenizer.decode(text) for text in theirs] == [each.text for each in ours]
    assert len(set(map(tuple, theirs))) > len(lines) / 2


def test_eight_bits_write_nearly_the_same(folders: dict[str, Path], toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer.from_file(str(folders["translator"] / "tokenizer.json"))
    sources = [encoding.ids for encoding in tokenizer.encode_batch(lines)]
    whole, small = (translate(folders["translator"], sources, suffix=suffix) for suffix in ("", "_quantized"))
    assert sum(map(list.__eq__, whole, small)) >= 0.9 * len(lines)


def continued(folder: Path, prompts: Ids, count: int, *, chunk: int) -> tuple[Ids, NDArray[Any]]:
    """Writes ``count`` pieces behind left-padded prompts, of which it reads all but the last ``chunk`` pieces first."""
    model = session(folder / "onnx/model.onnx")
    ids, mask = side_by_side(prompts, left=True)
    places = np.maximum(mask.cumsum(1) - 1, 0)
    past, texts, read = row_of_zeros(model, len(prompts)), [[] for _ in prompts], 0  # type: ignore[var-annotated]
    logits = np.zeros(())
    for end in [ids.shape[1] - chunk, *range(ids.shape[1], ids.shape[1] + count)]:
        given = {"input_ids": ids[:, read:end], "attention_mask": mask[:, :end], "position_ids": places[:, read:end]}
        results = model.run(None, {**given, **past})
        past, logits, read = next_past(model, results), results[0], end
        if end < ids.shape[1]:
            continue
        last = logits[:, -1].argmax(-1)[:, None]
        for text, (index,) in zip(texts, last.tolist(), strict=True):
            text.append(index)
        ids, mask = np.hstack([ids, last]), np.hstack([mask, np.ones_like(last)])
        places = np.hstack([places, places[:, -1:] + 1])
    return texts, logits


@pytest.mark.parametrize("chunk", [1, 2])
def test_a_language_model_writes_on_there_as_here(chunk: int, folders: dict[str, Path], toy_lm_run: Path) -> None:
    model = LanguageModel.load(toy_lm_run)
    tokenizer = Tokenizer.from_file(str(folders["lm"] / "tokenizer.json"))
    prompts = [tokenizer.encode(text).ids for text in ("我们", "他喜欢苹果。 He", "你")]
    assert prompts[0] == [model.tokenizer.begin, *model.tokenizer.encode("我们")]
    theirs, logits = continued(folders["lm"], prompts, 8, chunk=chunk)
    assert isinstance(model.model, GPT)
    for number, (prompt, text) in enumerate(zip(prompts, theirs, strict=True)):
        ids = prompt
        with torch.inference_mode():
            for index in text:
                here = model.model(torch.tensor([ids]))[0, -1]
                assert index == int(here.argmax())
                ids = [*ids, index]
        assert_near(torch.from_numpy(logits[number, -1]), here, 1e-5)
    assert json.loads((folders["lm"] / "config.json").read_text())["num_key_value_heads"] == 2


def segmented(rows: Any, pad_id: int) -> tuple[Any, Arrays]:
    batch = collate_segments(rows, pad_id)
    names = {"input_ids": batch.ids, "attention_mask": batch.mask.long(), "token_type_ids": batch.segments}
    return batch, {name: value.numpy() for name, value in names.items()}


def test_a_masked_model_fills_and_gives_states_there_as_here(folders: dict[str, Path], toy_masked_run: Path) -> None:
    model = MaskedModel.load(toy_masked_run)
    tokenizer = Tokenizer.from_file(str(folders["masked"] / "tokenizer.json"))
    encodings = [tokenizer.encode(*text) for text in (("He ate a [MASK].",), ("She", "likes apples."))]
    assert model.tokenizer.ids.mask in encodings[0].ids
    rows = [(encoding.ids, encoding.type_ids) for encoding in encodings]
    ids, mask = side_by_side([row for row, _ in rows])
    segments, _ = side_by_side([row for _, row in rows])
    names = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments}
    logits, states = session(folders["masked"] / "onnx/model.onnx").run(None, names)
    real = torch.from_numpy(mask).bool()
    with torch.inference_mode():
        here = model.model.bert(torch.from_numpy(ids), mask=real, segments=torch.from_numpy(segments))
        assert_near(torch.from_numpy(states)[real], here[real], 1e-5)
        assert_near(torch.from_numpy(logits)[real], model.model.mlm_head(here[real]), 1e-5)


def test_a_classifier_judges_there_as_here(folders: dict[str, Path], toy_classifier: Path) -> None:
    texts = ["the film was great", "a dull plot, really", "fine"]
    tokenizer = Tokenizer.from_file(str(folders["classifier"] / "tokenizer.json"))
    ids, mask = side_by_side([encoding.ids for encoding in tokenizer.encode_batch(texts)])
    names = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (logits,) = session(folders["classifier"] / "onnx/model.onnx").run(None, names)
    chances = torch.from_numpy(logits).softmax(-1)
    here = torch.tensor([list(each.probabilities.values()) for each in Classifier.load(toy_classifier).classify(texts)])
    assert_near(chances, here.to(chances), 1e-6)
    config = json.loads((folders["classifier"] / "config.json").read_text())
    assert config["id2label"] == {"0": "bad", "1": "good"}


def test_nothing_says_where_it_was_made(folders: dict[str, Path]) -> None:
    here = [Path.cwd(), Path.home(), Path(torch.__file__).parent, Path(tempfile.gettempdir())]
    words = [f"{path}/" for path in here] + ["stack_trace", "site-packages"]
    for path in folders["translator"].parent.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [word for word in words if word.encode() in content]


def test_the_same_run_gives_the_same_bytes(folders: dict[str, Path], toy_classifier: Path, tmp_path: Path) -> None:
    again = export_run(toy_classifier, tmp_path / "again", target="onnx", certify=UNCOMPARED)
    for path in folders["classifier"].rglob("*.*"):
        if path.name == "certificate.json":  # which says when it was made
            continue
        assert path.read_bytes() == (again / path.relative_to(folders["classifier"])).read_bytes()


def test_masks_that_their_tokenizers_read_otherwise_are_refused() -> None:
    config = small_bert("masked").config
    with pytest.raises(ModelError, match=r"with masks: tokenizer.kind = 'bpe': must be 'byte_bpe' or"):
        written.check_onnx(config, "bpe")
    written.check_onnx(config, "wordpiece")


def test_what_no_cache_can_do_is_refused_by_its_key() -> None:
    for model, rule in (
        (small(block=BlockConfig(norm="instance")), r"ONNX: model.block.norm = 'instance': looks at other positions"),
        (dynamic(original=8), r"model.rotary_scaling.kind = 'dynamic': computes texts of more than 8 pieces anew"),
    ):
        with pytest.raises(ModelError, match=rule):
            written.check_onnx(model.config)
    for fine in (small(), dynamic(original=16), small_bert("encoder", block=BlockConfig(norm="instance"))):
        written.check_onnx(fine.config)


def dynamic(original: int) -> GPT:
    torch.manual_seed(0)
    scaling = RotaryScalingConfig("dynamic", factor=2.0, original_max_seq_len=original)
    return small_gpt(position="rotary", rotary_scaling=scaling)


def test_each_graph_is_said(toy_classifier: Path, tmp_path: Path) -> None:
    said: list[str] = []
    export_run(toy_classifier, tmp_path / "out", target="onnx", quantize="q4", certify=UNCOMPARED, note=said.append)
    assert said[0] == "model.onnx: opset 23"
    assert said[1].startswith("compared in ONNX Runtime over lengths and padding: differs by at most ")
    assert said[2:] == ["model_q4.onnx: q4"]
    assert sorted(path.name for path in (tmp_path / "out/onnx").iterdir()) == ["model.onnx", "model_q4.onnx"]


def test_a_graph_that_differs_is_not_kept(
    toy_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clearhead.export.onnx import models as onnx_models

    monkeypatch.setattr(onnx_models, "_counted", lambda graph, given: graph.op("Sub", given, given))
    with pytest.raises(ModelError, match="differs from clearhead's own result"):
        export_run(toy_classifier, tmp_path / "out", target="onnx", certify=UNCOMPARED)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnx_ir"])
def test_a_package_that_is_missing_is_one_line(
    package: str, toy_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name == package:
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=rf"needs the package {package}; pip install 'clearhead\[onnx\]'"):
        export_run(toy_classifier, tmp_path / "out", target="onnx", certify=UNCOMPARED)
    assert list(tmp_path.iterdir()) == []


def test_an_opset_that_is_not_there() -> None:
    assert (written.checked_opset(None), written.checked_opset(18)) == (23, 18)
    with pytest.raises(UsageError, match="--opset 21: must be 18 or 23"):
        written.checked_opset(21)
    with pytest.raises(UsageError, match="--opset 18: must be left out with --to gguf"):
        written.checked_opset(18, "gguf")


def test_weights_beyond_a_file_of_protobuf_stand_beside_it(
    toy_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(written, "_LARGEST", 20_000)
    out = export_run(toy_classifier, tmp_path / "out", target="onnx", quantize="q8", certify=UNCOMPARED)
    assert {path.name for path in (out / "onnx").iterdir()} == {"model.onnx", "model.onnx_data", QUANTIZED}
    assert session(out / "onnx/model.onnx").get_outputs()[0].name == "logits"


DECODER, QUANTIZED = "decoder_model_merged", "model_quantized.onnx"


@pytest.mark.parametrize(("page", "name", "kind"), [("bert", "bert", "masked"), ("classify", "reviews", "classifier")])
def test_the_documents_code_runs(
    page: str,
    name: str,
    kind: str,
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (Path(__file__).parents[4] / "docs" / f"{page}.md").read_text(encoding="utf-8")
    (block,) = (each for each in re.findall(r"```python\n(.*?)```", text, re.S) if "onnxruntime" in each)
    (tmp_path / f"{name}-onnx").symlink_to(folders[kind])
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    said = capsys.readouterr().out.strip()
    assert said in ("good", "bad") if kind == "classifier" else said.startswith("(1, ")
