"""Measures new tokens per second of continuing a text with a decoder-only model of GPT-2's smallest shape, batch 1.

Random weights, the same in every peer; 32 tokens in, 64 out, greedy, no end mark. Every token reads all weights once,
so that the machine's memory bandwidth divided by their size is the limit.
"""

from pathlib import Path

from driver import Case, Row, Run, main

VOCAB, PROMPT, NEW = 50_257, 32, 64


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


def prompt() -> list[int]:
    """Draws random pieces."""
    import random

    return random.Random(3).choices(range(VOCAB), k=PROMPT)


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (one text) of a case."""
    peers = {"clearhead": clearhead, "hf": hugging_face, "ctranslate2": ctranslate2}
    write = peers[spec["peer"]](spec)
    written = write()
    assert len(written) == NEW, len(written)
    sizes = 12 * 12 * 768 * 768 + 768 * VOCAB
    return lambda: float(len(write())), {"gflop": 2 * sizes / 1e9, "written": [written]}


def clearhead(spec: dict):
    """Sets up our decoding step as ``clearhead generate`` runs it, with the weights read through our interop."""
    import json

    import torch
    from safetensors.torch import load_file

    from clearhead.decode.rows import start_texts
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
        decoding, pieces = start_texts(model, [prompt()]), []
        for _ in range(NEW):
            pieces.append(decoding.logits.argmax(dim=-1))
            if len(pieces) < NEW:
                decoding.advance(pieces[-1])
        return torch.cat(pieces).tolist()

    return write


def hugging_face(spec: dict):
    """Sets up Hugging Face's ``generate`` out of the box."""
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(Path(spec["folder"]) / "gpt2").eval()
    ids = torch.tensor([prompt()])

    @torch.inference_mode()
    def write() -> list[int]:
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=NEW)
        return out[0, PROMPT:].tolist()

    return write


def ctranslate2(spec: dict):
    """Sets up CTranslate2 with the same weights."""
    import os

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
    generator = Generator(
        str(target), compute_type=spec["weights"], inter_threads=1, intra_threads=int(os.environ["OMP_NUM_THREADS"])
    )
    start = [[f"t{piece}" for piece in prompt()]]
    options = {"min_length": NEW, "max_length": NEW, "include_prompt_in_result": False, "sampling_topk": 1}

    def write() -> list[int]:
        return [int(piece[1:]) for piece in generator.generate_batch(start, **options)[0].sequences[0]]

    return write


def compare(rows: list[Row]) -> None:
    """Adds to each case the share of its pieces that equal Hugging Face's, and drops the pieces."""
    written = {row["case"]: row["facts"].pop("written")[0] for row in rows if row.get("facts", {}).get("written")}
    for row in rows:
        if "hf" in written and row["case"] in written:
            same = sum(a == b for a, b in zip(written["hf"], written[row["case"]], strict=True))
            row["facts"]["same"] = f"{same / NEW:.0%}"


if __name__ == "__main__":
    names = {
        "clearhead": {"peer": "clearhead", "weights": "float32"},
        "clearhead int8": {"peer": "clearhead", "weights": "int8"},
        "hf": {"peer": "hf"},
        "ctranslate2 float32": {"peer": "ctranslate2", "weights": "float32"},
        "ctranslate2 int8": {"peer": "ctranslate2", "weights": "int8"},
    }
    cases = [Case("gpt2", name, spec, "ct2" if "ct" in name else "main") for name, spec in names.items()]
    columns = {"pieces as hf": "same"}
    main(
        __file__,
        build,
        cases,
        groups="shapes",
        unit="tokens/s",
        columns=columns,
        prepare=save_gpt2,
        finish=compare,
    )
