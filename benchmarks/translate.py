"""Measures output tokens/s of translating with an encoder-decoder of random weights, the same in all peers.

Models have the sizes of `small` (3 + 3 layers, 256) or `base` (6 + 6 layers, 512). A repeat translates a batch of
sentences of 16 source pieces into exactly 24 target pieces each; in every peer the end mark is forbidden before that.
The output of each peer's warm-up is compared, piece by piece, with Hugging Face's.
"""

import math
import os
import random
from functools import reduce
from pathlib import Path

from driver import Case, Row, Run, main
from train_translation import SIZES, marian

SHAPES = {"small": SIZES["small"], "base": {"d": 512, "h": 8, "ff": 2048, "n": 6}}
# Marian's ids: padding is last and starts the decoder, with a row of zeros
EOS, UNK, PAD = 0, 1, 8000
SRC_LEN, TGT_LEN = 16, 24
RENAMED = {
    "encoder.": "model.encoder.",
    "decoder.": "model.decoder.",
    "embedding.tokens": "embed_tokens",
    "cross_attn_post_norm": "encoder_attn_layer_norm",
    ".attn_post_norm": ".self_attn_layer_norm",
    "mlp_post_norm": "final_layer_norm",
    "cross_attn.": "encoder_attn.",
    ".attn.": ".self_attn.",
    "o_proj": "out_proj",
    "mlp.up_proj": "fc1",
    "mlp.down_proj": "fc2",
}


def our_model(size: str):
    """Builds our Transformer of 2017 (post-norm), with the features of positions in Marian's order."""
    import torch

    from clearhead.models.transformer import Transformer, TransformerConfig
    from clearhead.nn.layer import BlockConfig

    torch.manual_seed(1)
    shape = SHAPES[size]
    layers = {"n_encoder_layers": shape["n"], "n_decoder_layers": shape["n"]}
    sizes = {"d_model": shape["d"], "d_ff": shape["ff"], "n_heads": shape["h"], "max_seq_len": 64}
    config = TransformerConfig(**sizes, **layers, block=BlockConfig(norm_position="post"))
    model = Transformer(config, src_vocab_size=PAD + 1, vocab_size=PAD + 1, pad_id=PAD).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():  # with the initial weights each piece would repeat the last one
            factors = {"q_proj.weight": 6, "k_proj.weight": 6, "o_proj.weight": 3}
            weight.mul_(next((factor for end, factor in factors.items() if name.endswith(end)), 1))
        table = model.encoder.embedding.position.table  # of encoder and decoder, which share one embedding
        table.copy_(torch.cat([table[:, 0::2], table[:, 1::2]], dim=1))
    return model


def save_marian(folder: Path, size: str) -> None:
    """Writes our weights as a Hugging Face Marian."""
    from transformers import GenerationConfig

    marks = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": PAD}
    peer = marian(SHAPES[size], vocab_size=PAD + 1, **marks)
    weights = {
        reduce(lambda name, pair: name.replace(*pair), RENAMED.items(), name): weight
        for name, weight in our_model(size).state_dict().items()
    }
    missing, unexpected = peer.load_state_dict(weights, strict=False)  # tied and fixed tables are missing
    wrong = unexpected + [name for name in missing if "layers" in name]
    assert not wrong, wrong
    peer.generation_config = GenerationConfig(**marks, bad_words_ids=[[PAD]])  # as Marian's models have it
    peer.save_pretrained(folder / size / "marian")


def sources(batch: int) -> list[list[int]]:
    """Draws random source sentences, with their end marks."""
    draw = random.Random(5)
    return [[*draw.choices(range(2, PAD), k=SRC_LEN - 1), EOS] for _ in range(batch)]


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (one batch) of a case."""
    translate = {"clearhead": clearhead, "hf": hugging_face, "ctranslate2": ctranslate2}[spec["peer"]](spec)
    written = translate()
    assert all(len(ids) == TGT_LEN for ids in written), {len(ids) for ids in written}
    facts = {"written": written, "distinct": len({piece for ids in written for piece in ids})}
    shape = SHAPES[spec["size"]]
    d, ff, n = shape["d"], shape["ff"], shape["n"]
    per_source = n * (6 * d * d + 2 * d * ff)  # encoder, and the decoder's projections of the memory
    per_target = n * (6 * d * d + 2 * d * ff) + d * PAD
    facts["gflop"] = 2 * (per_source * SRC_LEN / TGT_LEN + per_target * spec["beam"]) / 1e9
    return lambda: float(sum(map(len, translate()))), facts


def clearhead(spec: dict):
    """Sets up our search as ``clearhead translate`` runs it, by the engine and with the weights of the case."""
    from clearhead.decode.hypotheses import SearchConfig
    from clearhead.engine.choose import choose

    config = SearchConfig(beam=spec["beam"])
    model = our_model(spec["size"])
    writer = choose(model, spec["weights"], spec["engine"]).prepare() or model
    return (native if spec["engine"] == "native" else by_steps)(writer, config, sources(spec["batch"]))


def native(writer, config, src):
    """Returns a translation of ``src`` in one call of the native engine."""
    import torch

    from clearhead.decode.native import native_search
    from clearhead.engine.loops.search import NativeSearch

    rules = {"forbidden": [PAD], "at_least": TGT_LEN}
    search = NativeSearch(PAD, EOS, config.beam, config.length_penalty, **rules)
    options = {"limits": [TGT_LEN] * len(src), "threads": torch.get_num_threads()}
    return lambda: [ranked[0].ids for ranked in native_search(writer, src, config, search, **options)]


def by_steps(writer, config, src):
    """Returns a translation of ``src`` by a search in Python that asks the model for each step."""
    import torch

    from clearhead.decode.decoding import start_decoding
    from clearhead.decode.rules import at_least, forbid
    from clearhead.decode.search import beam_search

    src_ids, rules, limits = torch.tensor(src), [forbid([PAD]), at_least(TGT_LEN, EOS)], [TGT_LEN] * len(src)

    def translate() -> list[list[int]]:
        with torch.inference_mode():
            decoding = start_decoding(writer, src_ids, None, beam=config.beam)
        hypotheses = beam_search(decoding, config, limits=limits, bos_id=PAD, eos_id=EOS, rules=rules)
        return [ranked[0].ids for ranked in hypotheses]

    return translate


def hugging_face(spec: dict):
    """Sets up Hugging Face's ``generate`` out of the box."""
    import torch
    from transformers import MarianMTModel

    model = MarianMTModel.from_pretrained(Path(spec["folder"]) / spec["size"] / "marian").eval()
    src_ids = torch.tensor(sources(spec["batch"]))
    real = torch.ones_like(src_ids)
    length = {"min_new_tokens": TGT_LEN, "max_new_tokens": TGT_LEN}

    def translate() -> list[list[int]]:
        with torch.inference_mode():
            out = model.generate(src_ids, attention_mask=real, num_beams=spec["beam"], do_sample=False, **length)
        return out[:, 1:].tolist()

    return translate


def ctranslate2(spec: dict):
    """Sets up CTranslate2 with the same weights, with one thread, with all, or with two workers that share a batch."""
    from ctranslate2 import Translator

    converted, threads = convert(Path(spec["folder"]) / spec["size"]), int(os.environ["OMP_NUM_THREADS"])
    threads = spec.get("threads", threads)
    workers = {"inter_threads": spec["workers"], "intra_threads": max(1, threads // spec["workers"])}
    translator = Translator(str(converted), compute_type=spec["compute"], **workers)
    pieces = [[f"t{piece}" if piece else "</s>" for piece in ids] for ids in sources(spec["batch"])]
    length = {"min_decoding_length": TGT_LEN, "max_decoding_length": TGT_LEN}
    share = {"max_batch_size": -(-spec["batch"] // spec["workers"])}

    def translate() -> list[list[int]]:
        results = translator.translate_batch(pieces, beam_size=spec["beam"], **length, **share)
        return [[int(piece[1:]) for piece in result.hypotheses[0]] for result in results]

    return translate


def convert(folder: Path) -> Path:
    """Converts the Marian in ``folder``, unless that has been done."""
    target = folder / "ctranslate2"
    if target.exists():
        return target
    from ctranslate2.converters import TransformersConverter
    from transformers import MarianMTModel

    class Vocabulary:
        """The part of a tokenizer that the converter uses."""

        eos_token, unk_token = "</s>", "<unk>"

        def get_vocab(self) -> dict[str, int]:
            special = {EOS: "</s>", UNK: "<unk>", PAD: "<pad>"}
            return {special.get(piece, f"t{piece}"): piece for piece in range(PAD + 1)}

    class Converter(TransformersConverter):
        def load_model(self, model_class, path, **options):
            return MarianMTModel.from_pretrained(path)

        def load_tokenizer(self, tokenizer_class, path, **options):
            return Vocabulary()

    Converter(str(folder / "marian")).convert(str(target))
    return target


def compare(rows: list[Row]) -> None:
    """Adds to each case the share of its pieces that equal Hugging Face's, and drops the pieces."""
    written = {row["case"]: row["facts"].pop("written") for row in rows if row.get("facts", {}).get("written")}
    for row in rows:
        if "hf" in written and row["case"] in written:
            pairs = [
                pair for ids in zip(written["hf"], written[row["case"]], strict=True) for pair in zip(*ids, strict=True)
            ]
            row["facts"]["same"] = f"{sum(a == b for a, b in pairs) / len(pairs):.1%}"


def cases_of(beam: int, batch: int, size: str = "small") -> list[Case]:
    """Returns the cases of one cell; with a single sentence there is work for one worker only."""
    cell = f"{'' if size == 'small' else size + '-'}{'greedy' if beam == 1 else f'beam{beam}'}-batch{batch}"
    base = {"beam": beam, "batch": batch, "size": size}
    ours = {
        "clearhead": ("native", "float32"),
        "clearhead-int8": ("native", "int8"),
        "clearhead-torch": ("torch", "float32"),
    }
    every = [
        Case(cell, name, base | {"peer": "clearhead", "engine": engine, "weights": weights})
        for name, (engine, weights) in ours.items()
    ]
    every.append(Case(cell, "hf", base | {"peer": "hf"}))
    for compute in ("float32", "int8"):
        spec = base | {"peer": "ctranslate2", "compute": compute}
        # threads that wait for each other at every product can be slower than one
        shapes = {"1worker": {"workers": 1}} | ({"2worker": {"workers": 2}} if batch > 1 else {})
        shapes |= {"1thread": {"workers": 1, "threads": 1}} if batch == 1 else {}
        every += [Case(cell, f"ctranslate2-{compute}-{name}", spec | shape, "ct2") for name, shape in shapes.items()]
    return every


def save_all(folder: Path) -> None:
    """Writes a Marian of each shape."""
    for size in SHAPES:
        save_marian(folder, size)


if __name__ == "__main__":
    rows = main(
        __file__,
        build,
        [case for beam in (1, 5) for batch in (1, 16, 64) for case in cases_of(beam, batch)] + cases_of(5, 1, "base"),
        groups="cells",
        unit="output tokens/s",
        columns={"pieces as hf": "same", "different pieces": "distinct"},
        prepare=save_all,
        finish=compare,
    )
    medians = {(row["group"], row["case"]): row["median"] for row in rows if "median" in row}
    cells = [cell for cell, case in medians if case == "hf" and (cell, "clearhead") in medians]
    print("\n| cell | clearhead / hf |\n|---|---|")
    ratios = [medians[cell, "clearhead"] / medians[cell, "hf"] for cell in cells]
    print("\n".join(f"| {cell} | {ratio:.2f} |" for cell, ratio in zip(cells, ratios, strict=True)))
    print(f"| geometric mean | {math.prod(ratios) ** (1 / max(len(ratios), 1)):.2f} |")
