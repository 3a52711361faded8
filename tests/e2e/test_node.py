"""Exported runs in JavaScript, where transformers.js and llama.cpp translate, write, fill and judge as clearhead does.

The packages are installed with npm on first use, into the folder that CLEARHEAD_NODE names or one in the user's cache.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.config import merge
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exports.run import Certify, export_run
from tests import toy

ROOT = Path(__file__).resolve().parents[2]
TRANSFORMERS, LLAMA = "@huggingface/transformers@4.3.2", "node-llama-cpp@3.22.1"
# reads {folder, task, texts, options} and prints what the pipeline gives; of a language model the ids
SCRIPT = """
import { env, pipeline } from "@huggingface/transformers";
const { folder, task, texts, options, dtype } = JSON.parse(process.argv[2]);
env.allowRemoteModels = false;
env.localModelPath = "./";
const run = await pipeline(task, folder, { dtype, device: "cpu", session_options: { intraOpNumThreads: 1 } });
let results;
if (task === "text-generation") {
  results = [];
  for (const text of texts) {
    const ids = await run.model.generate({ ...run.tokenizer(text), ...options });
    results.push(ids.tolist()[0].map(Number));
  }
} else {
  results = [];  // one by one: in a batch it goes on with texts that have ended, until all of them have
  for (const text of texts) results.push(...[await run(text, options)].flat());
}
console.log("RESULT" + JSON.stringify(results));
"""
# reads {model, texts, count}; prints the ids of each text, and the ids that llama.cpp writes behind them
LLAMA_SCRIPT = """
import { getLlama, LlamaLogLevel } from "node-llama-cpp";
const { path, texts, begin, count } = JSON.parse(process.argv[2]);
const llama = await getLlama({ gpu: false, build: "never", logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: path });
const results = [];
for (const text of texts) {
  const ids = [begin, ...model.tokenize(text).map(Number)];
  const context = await model.createContext({ contextSize: 48, threads: 1 });
  for await (const id of context.getSequence().evaluate([...ids], { temperature: 0 })) {
    ids.push(Number(id));
    if (ids.length > count) break;
  }
  results.push(ids);
  await context.dispose();
}
console.log("RESULT" + JSON.stringify(results));
process.exit(0);
"""
pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


def installed(package: str) -> Path:
    """Returns the folder whose scripts find a package; skips with the reason where it cannot be had."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: it runs {package}")
    folder = Path(os.environ.get("CLEARHEAD_NODE") or Path.home() / ".cache" / "clearhead-node")
    if not (folder / "node_modules" / package.rpartition("@")[0]).is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        # scripts of the packages would fetch files for GPUs, or build
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", package]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
        if done.returncode:
            pytest.skip(f"npm cannot install {package}: {' '.join(done.stderr.split())[:200]}")
    return folder


@pytest.fixture(scope="module")
def workplace(
    tmp_path_factory: pytest.TempPathFactory,
    toy_run: Path,
    toy_lm_run: Path,
    toy_masked_run: Path,
    toy_classifier: Path,
) -> Path:
    """A folder with exported runs under the names of the documents, and a script that uses them."""
    node, folder = installed(TRANSFORMERS), tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(node / "node_modules")
    (folder / "pipeline.mjs").write_text(SCRIPT, encoding="utf-8")
    export_run(toy_run, folder / "web", target="onnx", certify=Certify(lines=0), quantize="q8")
    export_run(toy_lm_run, folder / "gpt-onnx", target="onnx", certify=Certify(lines=0), quantize="q4")
    export_run(toy_masked_run, folder / "bert-onnx", target="onnx", certify=Certify(lines=0))
    export_run(toy_classifier, folder / "reviews-onnx", target="onnx", certify=Certify(lines=0), opset=18)
    return folder


def script(workplace: Path, *words: str) -> str:
    done = subprocess.run(
        ["node", *words], cwd=workplace, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def there(workplace: Path, task: str, folder: str, texts: list[str], dtype: str = "fp32", **options: Any) -> Any:
    """Returns what a pipeline of transformers.js gives."""
    order = {"task": task, "folder": folder, "texts": texts, "dtype": dtype, "options": options}
    return json.loads(script(workplace, "pipeline.mjs", json.dumps(order)).partition("RESULT")[2])


@pytest.mark.parametrize(("dtype", "share"), [("fp32", 1.0), ("q8", 0.9)])
def test_it_translates(dtype: str, share: float, workplace: Path, toy_run: Path, toy_data: Path) -> None:
    lines = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()
    ours = [each.text for each in Translator.load(toy_run).translate(lines, beam=1, split="never", limit=63)]
    found = there(workplace, "translation", "web", lines, dtype, max_new_tokens=63)
    theirs = [each["translation_text"] for each in found]
    assert sum(map(str.__eq__, theirs, ours)) >= share * len(lines)


def test_it_writes_on(workplace: Path, toy_lm_run: Path) -> None:
    prompts = ["我们", "他喜欢苹果。 He", "你"]
    found = there(workplace, "text-generation", "gpt-onnx", prompts, max_new_tokens=9)
    model = LanguageModel.load(toy_lm_run).model
    for ids in found:
        assert len(ids) > 9
        with torch.inference_mode():
            logits = model(torch.tensor([ids]))[0]
        assert ids[-9:] == logits[-10:-1].argmax(-1).tolist()


def test_it_fills_masks(workplace: Path, toy_masked_run: Path) -> None:
    text = "He ate [MASK] apple."
    theirs = there(workplace, "fill-mask", "bert-onnx", [text], top_k=5)
    ours = MaskedModel.load(toy_masked_run).fill([text])[0].masks[0]
    assert [each["token"] for each in theirs] == [each.id for each in ours[:5]]
    assert [each["score"] for each in theirs] == pytest.approx([each.probability for each in ours[:5]], abs=1e-5)


def test_it_judges(workplace: Path, toy_classifier: Path) -> None:
    texts = ["the film was great", "a dull plot, really", "fine"]
    ours = [each.probabilities for each in Classifier.load(toy_classifier).classify(texts)]
    for theirs, own in zip(there(workplace, "text-classification", "reviews-onnx", texts), ours, strict=True):
        assert theirs["label"] == max(own, key=own.__getitem__)
        assert theirs["score"] == pytest.approx(max(own.values()), abs=1e-5)


def test_the_documents_scripts_run(workplace: Path) -> None:
    pages = sorted((ROOT / "docs").glob("*.md"))
    scripts = [block for page in pages for block in re.findall(r"```js\n(.*?)```", page.read_text("utf-8"), re.S)]
    assert len(scripts) == 2
    for number, block in enumerate(scripts):
        (workplace / f"{number}.mjs").write_text(block, encoding="utf-8")
        assert "_text" in script(workplace, f"{number}.mjs")


def test_llama_cpp_writes_on(tmp_path: Path) -> None:
    """A model of Llama's shape, which is exported as a GGUF file."""
    (tmp_path / "node_modules").symlink_to(installed(LLAMA) / "node_modules")
    (tmp_path / "llama.mjs").write_text(LLAMA_SCRIPT, encoding="utf-8")
    data = toy.write_documents(tmp_path / "data", [f"{zh} {en}" for zh, en in toy.demo_lines(48)])
    shape = {
        "tokenizer": {"kind": "bpe"},
        "model": {"block": {"norm": "rms", "activation": "swiglu", "bias": False, "attention": "qk_norm"}},
        "train": {"max_steps": 60, "checkpoint_every": 0},
    }
    run = toy.learn(tmp_path, merge(toy.LANGUAGE_MODEL, shape), data)
    out = export_run(run, tmp_path / "gguf", target="gguf", certify=Certify(lines=0))
    (path,) = out.glob("*.gguf")
    loaded, texts = LanguageModel.load(run), ["我们", "He", "I ate an"]
    order = {"path": str(path), "texts": texts, "begin": loaded.tokenizer.begin, "count": 24}
    for text, ids in zip(
        texts, json.loads(script(tmp_path, "llama.mjs", json.dumps(order)).partition("RESULT")[2]), strict=True
    ):
        prompt = [loaded.tokenizer.begin, *loaded.tokenizer.encode(text)]
        assert ids[: len(prompt)] == prompt
        with torch.inference_mode():
            logits = loaded.model(torch.tensor([ids]))[0]
        assert ids[len(prompt) :] == logits[len(prompt) - 1 : -1].argmax(-1).tolist()
