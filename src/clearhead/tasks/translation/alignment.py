"""How a translator reads the source: its attention weights, and the tensor shapes from embedding to decoder."""

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clearhead.data.translation import collate
from clearhead.errors import ModelError
from clearhead.meter.watch import watching
from clearhead.models.rnn import RNNTranslator
from clearhead.nn.layer import DecoderLayer
from clearhead.tasks.translation.recipe import Net
from clearhead.tasks.translation.result import Translation
from clearhead.text.special import SpecialIds


def aligned(translation: Translation, model: Net, *, special: SpecialIds, device: torch.device) -> Translation:
    """Fills ``alignment`` of a translation; of several parts it counts on from part to part.

    Raises:
        ModelError: the model has no attention.
    """
    if translation.of_parts:
        alignment, before = list[int](), 0
        for part in translation.of_parts:
            alignment += [before + at for at in aligned(part, model, special=special, device=device).alignment or []]
            before += len(part.source_pieces)
        return replace(translation, alignment=alignment)
    if not translation.target_ids:
        return translation
    # what the last piece would lead to is not asked: at the length limit there is no position for it
    batch = collate([translation.source_ids], [translation.target_ids[:-1]], special=special).to(device)
    weights = attention_to_source(model, batch.src_ids, batch.tgt_ids)
    best = weights[: len(translation.pieces)].argmax(dim=1).tolist()
    return replace(translation, alignment=[int(piece) for piece in best])


@torch.inference_mode()
def attention_to_source(
    model: Net, src_ids: Int[Tensor, "one src"], tgt_ids: Int[Tensor, "one tgt"]
) -> Float[Tensor, "tgt src"]:
    """Returns how much each step of one sentence attends to each source piece, all targets given.

    Of a Transformer it is the mean over the heads of the last decoder layer but one, where translation models keep
    their alignment (Garg et al. 2019, arXiv:1909.02074).

    Raises:
        ModelError: the model has no attention.
    """
    with watching({"weights": _tap(model)}) as seen:
        model.hidden(src_ids, tgt_ids)
    # a Transformer makes all of them in one call, a recurrent one in a call for each step
    return torch.cat(seen["weights"], dim=2)[0].mean(dim=0)  # heads tgt src -> tgt src


def _tap(model: Net) -> nn.Module:
    if isinstance(model, RNNTranslator):
        if model.decoder.alignment is None:
            raise ModelError("alignment: the model has model.attention = 'none', one vector for the whole source")
        return model.decoder.alignment.core.tap
    layers = model.decoder.layers
    return cast(DecoderLayer, layers[max(len(layers) - 2, 0)]).cross_attn.core.tap


@torch.inference_mode()
def source_shapes(model: Net, src_ids: Int[Tensor, "one src"]) -> dict[str, list[int]]:
    """Returns the shapes of what a source becomes, from its embedding to what the decoder takes."""
    if isinstance(model, RNNTranslator):
        with watching({"embedding": model.src_embedding}) as seen:
            state = model.begin(src_ids)
        names = ["one vector"] if model.decoder.alignment is None else ["attention keys", "memory"]
        outputs = {"embedding": seen["embedding"][0], **dict(zip(names, state.source, strict=False))}
        outputs["first states"] = state.states
    else:
        encoder = model.encoder
        layers = {f"encoder layer {number}": layer for number, layer in enumerate(encoder.layers, 1)}
        with watching({"embedding": encoder.embedding, **layers, "memory": encoder}) as seen:
            memory = encoder(src_ids)
        outputs = {name: calls[0] for name, calls in seen.items()}
        outputs["cross-attention keys"] = model.decoder.keys_values(memory)[0][0]
    return {name: list(tensor.shape) for name, tensor in outputs.items()}
