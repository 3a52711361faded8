"""Measures texts per second of making a vector of each: the mean of a BERT's last states, in two sizes.

In the environment, TEXTS names a file with a text in each line, of which the first 1,000 are read. The weights are
random and the same in every peer, the tokenizer is a WordPiece trained on these lines. All peers sort texts by length;
a repeat cuts and reads all of them. Vectors of each peer's warm-up are compared with those of sentence-transformers.
"""

import json
import os
from pathlib import Path

from driver import Case, Run, main

SIZES = {
    "bert-mini": {"num_hidden_layers": 4, "hidden_size": 256, "intermediate_size": 1024, "num_attention_heads": 4},
    "minilm": {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12},
}
TEXTS, VOCAB, LONGEST = 1000, 30_522, 256


def texts() -> list[str]:
    """Reads the texts."""
    lines = Path(os.environ["TEXTS"]).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip()][:TEXTS]


def save_models(folder: Path) -> None:
    """Writes each size for sentence-transformers, as a run of ours, and as graphs for ONNX Runtime."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from clearhead.verbs.exchange import import_run

    cutter = BertWordPieceTokenizer()
    cutter.train_from_iterator(texts(), vocab_size=VOCAB, min_frequency=1, show_progress=False)
    tokenizer = BertTokenizerFast(tokenizer_object=cutter._tokenizer, model_max_length=LONGEST)
    torch.manual_seed(1)
    for name, sizes in SIZES.items():
        peer = BertModel(BertConfig(vocab_size=VOCAB, **sizes)).eval()
        with torch.no_grad():
            for weight in peer.encoder.parameters():  # with the initial weights all texts would be nearly the same
                weight.mul_(2 if weight.ndim == 2 else 1)
        peer.save_pretrained(folder / name / "hf")
        tokenizer.save_pretrained(folder / name / "hf")
        parts = [Transformer(str(folder / name / "hf"), max_seq_length=LONGEST), Pooling(sizes["hidden_size"])]
        SentenceTransformer(modules=parts, device="cpu").save(str(folder / name / "sentence"))
        import_run(folder / name / "sentence", folder / name / "run")
        save_graphs(folder / name)


def save_graphs(folder: Path) -> None:
    """Writes the encoder of a run of ours for ONNX Runtime, in float32 and in 8 bits."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    from clearhead.export.onnx.models import Unit, build, graphs_of
    from clearhead.tasks.masked.model import MaskedModel

    bert = MaskedModel.load(folder / "run", device="cpu", engine="torch").model.bert
    onnx.save(build(bert, graphs_of(bert, Unit())["model"], 18), folder / "float32.onnx")
    quantize_dynamic(folder / "float32.onnx", folder / "int8.onnx", weight_type=QuantType.QInt8)


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (all texts) of a case."""
    import numpy as np

    peers = {"clearhead": clearhead, "sentence-transformers": sentence_transformers, "onnxruntime": onnxruntime}
    read, given = peers[spec["peer"]](Path(spec["folder"]) / spec["size"], spec), texts()
    vectors = np.asarray(read(given), dtype=np.float32)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = Path(spec["folder"]) / spec["size"] / "expected.npy"
    if spec["peer"] == "sentence-transformers" and not kept.exists():
        np.save(kept, vectors)
    nearest = float((vectors * np.load(kept)).sum(axis=1).min()) if kept.exists() else float("nan")
    facts = {"gflop": gflop(Path(spec["folder"]) / spec["size"], given), "nearest": f"{nearest:.4f}"}
    return lambda: float(len(read(given))), facts


def gflop(folder: Path, given: list[str]) -> float:
    """Returns the products of a text, on average, without attention itself."""
    from tokenizers import Tokenizer

    config = json.loads((folder / "hf" / "config.json").read_text())
    d, ff, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    cutter = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
    pieces = sum(min(len(cut.ids), LONGEST) for cut in cutter.encode_batch(given)) / len(given)
    return 2 * layers * (4 * d * d + 2 * d * ff) * pieces / 1e9


def clearhead(folder: Path, spec: dict):
    """Sets up ``clearhead embed``."""
    from clearhead.tasks.masked.model import MaskedModel

    model = MaskedModel.load(folder / "run", device="cpu", weights=spec["weights"], engine=spec["engine"])
    return lambda given: model.embed(given, overlong="truncate")


def sentence_transformers(folder: Path, spec: dict):
    """Sets up ``SentenceTransformer.encode``."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder / "sentence"), device="cpu")
    return lambda given: model.encode(given, batch_size=spec["batch"], show_progress_bar=False)


def onnxruntime(folder: Path, spec: dict):
    """Sets up a session of ONNX Runtime, with the tokenizer in Rust and batches of like length around it."""
    import numpy as np
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer

    options = SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = InferenceSession(folder / f"{spec['weights']}.onnx", options, providers=["CPUExecutionProvider"])
    cutter = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
    cutter.enable_truncation(LONGEST)
    cutter.no_padding()

    def read(given: list[str]):
        rows = [cut.ids for cut in cutter.encode_batch(given)]
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
        vectors: list = [None] * len(rows)
        for first in range(0, len(order), spec["batch"]):
            chosen = order[first : first + spec["batch"]]
            ids = np.zeros((len(chosen), len(rows[chosen[0]])), np.int64)
            real = np.zeros_like(ids)
            for at, number in enumerate(chosen):
                ids[at, : len(rows[number])], real[at, : len(rows[number])] = rows[number], 1
            given_arrays = {"input_ids": ids, "attention_mask": real, "token_type_ids": np.zeros_like(ids)}
            (states,) = session.run(["last_hidden_state"], given_arrays)
            weights = real[..., None].astype(np.float32)
            for number, vector in zip(chosen, (states * weights).sum(axis=1) / weights.sum(axis=1), strict=True):
                vectors[number] = vector
        return vectors

    return read


def cases_of(size: str) -> list[Case]:
    """Returns the cases of one size, a peer in each batch size that may be its best."""
    every = [
        Case(
            size, f"sentence-transformers-batch{batch}", {"size": size, "peer": "sentence-transformers", "batch": batch}
        )
        for batch in (32, 8)
    ]
    ours = {
        "clearhead": ("native", "float32"),
        "clearhead-int8": ("native", "int8"),
        "clearhead-torch": ("torch", "float32"),
    }
    for name, (engine, weights) in ours.items():
        every.append(Case(size, name, {"size": size, "peer": "clearhead", "engine": engine, "weights": weights}))
    for weights in ("float32", "int8"):
        for batch in (8, 1):
            spec = {"size": size, "peer": "onnxruntime", "weights": weights, "batch": batch}
            every.append(Case(size, f"onnxruntime-{weights}-batch{batch}", spec))
    return every


if __name__ == "__main__":
    main(
        __file__,
        build,
        [case for size in SIZES for case in cases_of(size)],
        groups="sizes",
        unit="texts/s",
        columns={"least cosine": "nearest"},
        prepare=save_models,
    )
