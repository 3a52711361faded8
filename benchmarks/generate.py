"""Measures tokens per second of continuing, and of reading, a text with a GPT of GPT-2's smallest shape, batch 1.

Random weights, the same in every peer; greedy, no end mark. ``gpt2``: 32 tokens in, 64 out, where every token reads all
weights once, so that the machine's memory bandwidth divided by their size is the limit. ``prefill``: 512 in, 1 out.
NODE_MODULES in the environment names a folder with npm's node-llama-cpp, whose llama.cpp is a peer then.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from driver import Case, Row, Run, main

VOCAB = 50_257
SHAPES = {"gpt2": (32, 64), "prefill": (512, 1)}
"""By group: tokens in and out."""
Write = Callable[[], list[int]]


def save_gpt2(folder: Path) -> None:
    """Writes a GPT-2 with random weights, made larger so that it does not repeat itself."""
    import torch
    from transformers import GenerationConfig, GPT2Config, GPT2LMHeadModel

    torch.manual_seed(1)
    peer = GPT2LMHeadModel(GPT2Config())
    with torch.no_grad():
        for name, weight in peer.named_parameters():
            weight.mul_(4 if "attn" in name or "mlp" in name else 1)
    peer.generation_config = GenerationConfig(pad_token_id=0, eos_token_id=None)
    peer.save_pretrained(folder / "gpt2")
    if "NODE_MODULES" in os.environ:
        save_gguf(folder)


def save_gguf(folder: Path) -> None:
    """Writes it for llama.cpp, as ``clearhead export --to gguf`` does, with a tokenizer of invented pieces."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from clearhead import LanguageModel
    from clearhead.export.gguf import write_gguf
    from clearhead.verbs.exchange import import_run

    letters, mark = sorted(pre_tokenizers.ByteLevel.alphabet()), "<|endoftext|>"
    pieces = [*letters, mark, *(f"t{number}" for number in range(VOCAB - len(letters) - 1))]
    pipeline = Tokenizer(models.BPE({piece: index for index, piece in enumerate(pieces)}, [("t", "0")]))
    pipeline.pre_tokenizer, pipeline.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    pipeline.add_special_tokens([mark])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pipeline, bos_token=mark, eos_token=mark)
    tokenizer.save_pretrained(folder / "gpt2")
    import_run(folder / "gpt2", folder / "run")
    model = LanguageModel.load(folder / "run", device="cpu")
    for kind in ("f32", "q8_0", "q4_0"):
        write_gguf(folder / f"{kind}.gguf", model.model, model.tokenizer, name="gpt2", quantize=kind)


def prompt(count: int) -> list[int]:
    """Draws random pieces."""
    import random

    return random.Random(3).choices(range(VOCAB), k=count)


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (one text) of a case."""
    peers = {"clearhead": clearhead, "hf": hugging_face, "ctranslate2": ctranslate2, "llama.cpp": llama}
    (count, new), layers = SHAPES[spec["shape"]], 12 * 12 * 768 * 768
    write = peers[spec["peer"]](spec, prompt(count), new)
    written = write()
    assert len(written) == new, len(written)
    if new == 1:  # all of the prompt is read, and what follows its last token is computed
        return lambda: float(count * len(write())), {
            "gflop": 2 * (layers + 768 * VOCAB / count) / 1e9,
            "written": [written],
        }
    return lambda: float(len(write())), {"gflop": 2 * (layers + 768 * VOCAB) / 1e9, "written": [written]}


def clearhead(spec: dict, start: list[int], new: int) -> Write:
    """Sets up our decoding step as ``clearhead generate`` runs it, with the weights read through our interop."""
    import json

    import torch
    from safetensors.torch import load_file

    from clearhead.decode.graphed.rows import start_texts
    from clearhead.engine.choose import choose
    from clearhead.interop.gpt import gpt_from_hugging_face
    from clearhead.models.gpt import GPT

    folder = Path(spec["folder"]) / "gpt2"
    config, tensors, _ = gpt_from_hugging_face(
        json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    )
    model = GPT(config, vocab_size=VOCAB)
    model.load_state_dict(tensors)
    model = choose(model.eval(), spec["weights"]).prepare() or model

    @torch.inference_mode()
    def write() -> list[int]:
        decoding, pieces = start_texts(model, [start]), []
        for _ in range(new):
            pieces.append(decoding.logits.argmax(dim=-1))
            if len(pieces) < new:
                decoding.advance(pieces[-1])
        return torch.cat(pieces).tolist()

    return write


def hugging_face(spec: dict, start: list[int], new: int) -> Write:
    """Sets up Hugging Face's ``generate`` out of the box."""
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(Path(spec["folder"]) / "gpt2").eval()
    ids = torch.tensor([start])

    @torch.inference_mode()
    def write() -> list[int]:
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new)
        return out[0, len(start) :].tolist()

    return write


def ctranslate2(spec: dict, start: list[int], new: int) -> Write:
    """Sets up CTranslate2 with the same weights."""
    from ctranslate2 import Generator
    from ctranslate2.converters import TransformersConverter
    from transformers import GPT2LMHeadModel

    class Pieces:
        """The part of a tokenizer that the converter uses: the pieces, none of them special."""

        unk_token, bos_token, eos_token = "t0", "t0", "t0"

        def get_vocab(self) -> dict[str, int]:
            return {f"t{piece}": piece for piece in range(VOCAB)}

    class Converter(TransformersConverter):
        def load_model(self, model_class, path, **options):
            return GPT2LMHeadModel.from_pretrained(path)

        def load_tokenizer(self, tokenizer_class, path, **options):
            return Pieces()

    source = Path(spec["folder"]) / "gpt2"
    target = source.parent / f"ct2-{spec['weights']}"
    if not target.exists():
        Converter(str(source)).convert(str(target))
    threads = spec.get("threads", int(os.environ["OMP_NUM_THREADS"]))
    generator = Generator(str(target), compute_type=spec["weights"], inter_threads=1, intra_threads=threads)
    given = [[f"t{piece}" for piece in start]]
    options = {"min_length": new, "max_length": new, "include_prompt_in_result": False, "sampling_topk": 1}

    def write() -> list[int]:
        return [int(piece[1:]) for piece in generator.generate_batch(given, **options)[0].sequences[0]]

    return write


def llama(spec: dict, start: list[int], new: int) -> Write:
    """Sets up llama.cpp, in Node, which runs ``llama.mjs`` beside this process."""
    threads = spec.get("threads", int(os.environ["OMP_NUM_THREADS"]))
    file = Path(spec["folder"]) / f"{spec['weights']}.gguf"
    command = ["node", str(Path(__file__).with_name("llama.mjs")), str(file), str(threads)]
    command += [",".join(map(str, start)), str(new)]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def write() -> list[int]:
        peer.stdin.write("\n")
        return [int(piece) for piece in peer.stdout.readline().split(",")]

    return write


def compare(rows: list[Row]) -> None:
    """Adds to each case the share of its pieces that equal Hugging Face's, and drops the pieces."""
    written = {row["case"]: row["facts"].pop("written")[0] for row in rows if row.get("facts", {}).get("written")}
    for row in rows:
        if "hf" in written and row["case"] in written:
            same = sum(a == b for a, b in zip(written["hf"], written[row["case"]], strict=True))
            row["facts"]["same"] = f"{same / len(written['hf']):.0%}"


def cases_of(shape: str) -> list[Case]:
    """Returns the cases of one group; threads that wait for each other often can be slower than one."""
    specs = {"clearhead": {"peer": "clearhead", "weights": "float32"}}
    specs |= {f"clearhead {kind}": {"peer": "clearhead", "weights": kind} for kind in ("int8", "int4")}
    specs["hf"] = {"peer": "hf"}
    peers = {"ctranslate2": ("float32", "int8")}
    if "NODE_MODULES" in os.environ:
        peers["llama.cpp"] = ("f32", "q8_0", "q4_0")
    for peer, kinds in peers.items():
        for kind in kinds:
            specs[f"{peer} {kind}"] = {"peer": peer, "weights": kind}
            specs[f"{peer} {kind}, 1 thread"] = {"peer": peer, "weights": kind, "threads": 1}
    return [
        Case(shape, name, spec | {"shape": shape}, "ct2" if "ct" in name else "main") for name, spec in specs.items()
    ]


if __name__ == "__main__":
    main(
        __file__,
        build,
        [case for shape in SHAPES for case in cases_of(shape)],
        groups="shapes",
        unit="tokens/s",
        columns={"pieces as hf": "same"},
        prepare=save_gpt2,
        finish=compare,
    )
