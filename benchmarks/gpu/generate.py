"""New tokens/s of greedy texts at the shape of GPT-2 124M in bfloat16, one at a time and in batches, all peers in turn.

``recorded`` is the step of fixed shapes played as a CUDA graph, which ``clearhead generate`` takes on a GPU; ``plain``
computes each step kernel by kernel. Hugging Face runs ``generate`` out of the box, with its cache that grows, and with
its static cache, for which it compiles the model itself. All have the same random weights; the end mark is forbidden.
"""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rounds import Asked, Built, asked, run

PROMPT, NEW, VOCAB = 64, 128, 50_257
SIZES = {"n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
TINY = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 2}


def cases_of(rows: int, folder: Path, given: Asked, *, static: bool) -> dict[str, Callable[[], Built]]:
    """Returns the cases for ``rows`` texts at a time; those of ``static`` are last, since they compile for long."""
    device, new = given.device, 8 if given.tiny else NEW
    vocab = 200 if given.tiny else VOCAB
    prompts = torch.randint(
        1, vocab, (rows, 8 if given.tiny else PROMPT), generator=torch.Generator().manual_seed(rows)
    )
    texts: dict[str, list[list[int]]] = {}

    def same(name: str, write: Callable[[], list[list[int]]]) -> Built:
        """Sets up a case and counts how many of its pieces are those of the first case."""
        texts[name] = write()
        first = next(iter(texts.values()))
        pairs = [
            pair for ours, theirs in zip(texts[name], first, strict=True) for pair in zip(ours, theirs, strict=True)
        ]
        share = sum(one == other for one, other in pairs) / len(pairs)
        return Built(write, float(rows * new), facts={"same as the first": round(share, 3)})

    def clearhead(recorded: bool) -> Built:
        net = published(folder, vocab).to(device, torch.bfloat16).eval()
        return same(f"clearhead {recorded}", writer_of(net, prompts.tolist(), new, recorded=recorded))

    def hugging_face(cache: str | None) -> Built:
        from transformers import GPT2LMHeadModel

        net: Any = GPT2LMHeadModel.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
        ids, words = prompts.to(device), {"do_sample": False, "suppress_tokens": [0], "pad_token_id": 0}
        more = {"cache_implementation": cache} if cache else {}

        @torch.inference_mode()
        def write() -> list[list[int]]:
            mask = torch.ones_like(ids)
            out = net.generate(ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, **words, **more)
            return out[:, ids.shape[1] :].tolist()

        return same(f"hf {cache}", write)

    cases = {"clearhead, recorded": partial(clearhead, True)}
    if static:
        return cases | {"hugging face, static cache": partial(hugging_face, "static")}
    return cases | {"hugging face": partial(hugging_face, None), "clearhead, plain": partial(clearhead, False)}


def writer_of(net: Any, prompts: list[list[int]], new: int, *, recorded: bool) -> Callable[[], list[list[int]]]:
    """Returns our generation of ``new`` pieces behind each prompt, which ``clearhead generate`` runs."""
    from clearhead.decode.generation import generate
    from clearhead.decode.graphed.rows import GraphedRows
    from clearhead.decode.rows import RowsDecoding
    from clearhead.decode.sampler import Sampler
    from clearhead.decode.sampling import SamplingConfig

    sampler = Sampler(SamplingConfig(temperature=0.0), 0, forbidden=(0,))
    asked_for: Any = {"limits": [new] * len(prompts), "samples": [0] * len(prompts)}

    def begin(texts: Any) -> Any:
        plain = RowsDecoding(net, texts)
        return GraphedRows(plain) if recorded else plain

    return lambda: [text.ids for text in generate(begin, prompts, sampler, **asked_for)]


def published(folder: Path, vocab: int) -> Any:
    """Returns our model with the saved weights."""
    from safetensors.torch import load_file

    from clearhead.interop.gpt import gpt_from_hugging_face
    from clearhead.models.gpt import GPT

    tree = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config, tensors, _ = gpt_from_hugging_face(tree, load_file(folder / "model.safetensors"))
    net = GPT(config, vocab_size=vocab)
    net.load_state_dict(tensors)
    return net


def save_gpt2(folder: Path, given: Asked) -> None:
    """Saves a GPT-2 with random weights; its larger table of embeddings keeps logits apart."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = TINY if given.tiny else SIZES
    vocab = 200 if given.tiny else VOCAB
    torch.manual_seed(0)
    net = GPT2LMHeadModel(GPT2Config(vocab_size=vocab, bos_token_id=0, eos_token_id=0, **sizes))
    net.transformer.wte.weight.data *= 8
    net.save_pretrained(folder)


if __name__ == "__main__":
    options = asked()
    with tempfile.TemporaryDirectory() as place:
        save_gpt2(Path(place), options)
        for count, static, share in ((1, False, 0.4), (16, False, 0.75), (1, True, 1.0)):
            if static and (options.device.type != "cuda" or not options.compile):
                continue
            within = dataclasses.replace(options, seconds=share * options.seconds)
            cases = cases_of(count, Path(place), within, static=static)
            name = "generate-static" if static else f"generate-{count}"
            run(name, "tokens/s", cases, within, first="clearhead, recorded")
