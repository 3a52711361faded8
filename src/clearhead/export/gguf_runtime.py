"""Reads a GGUF file back: its weights, as they were stored, in a model of ours.

llama.cpp itself is not at hand as a Python package. The file is read by ``gguf``'s reader, its tensors are made whole
numbers again by its own formulas, and each goes back to where our writer took it from.
"""

import copy
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clearhead.errors import ModelError
from clearhead.export.gguf import Tensors, architecture_of, tensors_of
from clearhead.export.gguf_tokenizer import Vocabulary, vocabulary
from clearhead.export.ours import Ours
from clearhead.export.runtime import NO_HEADS, OneStack
from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.text.tokenizer import Tokenizer

_ONES = ("_q_norm.weight", "_k_norm.weight")  # which are none of our weights


class Gguf(Ours):
    """The weights of a GGUF file in a copy of our model.

    Args:
        path: the file.
        model: what was written there.
        tokenizer: whose vocabulary was written with it.
        ends: pieces that end a text.
        never: pieces that are in no text.
        scale: see ``Ours``.

    Raises:
        ModelError: the file lacks a tensor, or one has another shape.
    """

    name = "gguf"

    def __init__(
        self,
        path: Path,
        model: OneStack,
        tokenizer: Tokenizer,
        *,
        ends: Sequence[int],
        never: Sequence[int],
        scale: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        import gguf

        self.version = version("gguf")
        reader = gguf.GGUFReader(path)
        stored = {
            tensor.name: torch.from_numpy(np.array(gguf.dequantize(tensor.data, tensor.tensor_type)))
            for tensor in reader.tensors
        }
        self._fields: Any = {name: field.contents() for name, field in reader.fields.items()}
        own = copy.deepcopy(model)
        _read_back(own, stored, vocabulary(tokenizer))
        super().__init__(own, ends=ends, never=never, scale=scale)
        if not isinstance(own, GPT):  # there are no heads in the file
            self.gives, self.notes = "states", (NO_HEADS,)

    def encode(self, texts: Sequence[str]) -> list[list[int]] | None:
        """See ``Runtime``: by GPT-2's rule of words, where the file says that; others only llama.cpp can follow."""
        if self._fields["tokenizer.ggml.model"] != "gpt2":
            return None
        from tokenizers import Tokenizer as Library
        from tokenizers import models, pre_tokenizers

        vocab = {piece: index for index, piece in enumerate(self._fields["tokenizer.ggml.tokens"])}
        merges = [tuple(merge.split(" ")) for merge in self._fields["tokenizer.ggml.merges"]]
        pipeline = Library(models.BPE(vocab=vocab, merges=merges))
        pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return [one.ids for one in pipeline.encode_batch(list(texts), add_special_tokens=False)]


@torch.no_grad()
def _read_back(model: OneStack, stored: Tensors, words: Vocabulary) -> None:
    """Puts stored tensors into a model, each number where ``tensors_of`` takes it from.

    The writer only gathers, repeats and stretches numbers. So it is asked where it would put the numbers 0, 1, 2, ...
    in place of the weights, and how it stretches a 1.
    """
    parameters = dict(model.named_parameters())  # a tied one once
    sizes = [parameter.numel() for parameter in parameters.values()]
    places, ones = torch.arange(sum(sizes)).double(), torch.ones(sum(sizes)).double()
    wanted, factors = (_tensors(_filled(model, numbers), words) for numbers in (places, ones))
    if differing := sorted(wanted.keys() ^ stored.keys()):
        raise ModelError(f"GGUF: tensor {differing[0]!r} is {'missing' if differing[0] in wanted else 'unknown'}")
    flat = torch.cat([parameter.flatten() for parameter in parameters.values()]).float()
    for name, place in wanted.items():
        if place.shape != stored[name].shape:
            raise ModelError(f"GGUF: tensor {name!r} has shape {list(stored[name].shape)}, not {list(place.shape)}")
        if name.endswith(_ONES):
            continue
        flat[_index(place, factors[name])] = _whole(stored[name], factors[name]).flatten()
    for name, place in wanted.items():  # what stands in two places must be the same in both
        if not name.endswith(_ONES) and not torch.equal(
            flat[_index(place, factors[name])], _whole(stored[name], factors[name]).flatten()
        ):
            raise ModelError(f"GGUF: tensor {name!r} is not that of another place where the model has it too")
    for parameter, values in zip(parameters.values(), flat.split(sizes), strict=True):
        parameter.copy_(values.view_as(parameter))


def _index(place: Tensor, factor: Tensor) -> Tensor:
    """Returns the numbers of the weights that a tensor is made of."""
    return (place / factor).round().long().flatten()


def _whole(stored: Tensor, factor: Tensor) -> Tensor:
    """Returns the weights of a stored tensor, no longer stretched."""
    return (stored.double() / factor).float()


def _filled(model: OneStack, numbers: Tensor) -> OneStack:
    """Returns a copy of a model in float64 with these numbers as its weights."""
    filled = copy.deepcopy(model).double()
    at = 0
    for parameter in filled.parameters():
        parameter.copy_(numbers[at : at + parameter.numel()].view_as(parameter))
        at += parameter.numel()
    return filled


def _tensors(model: OneStack, words: Vocabulary) -> Tensors:
    encoder = model.bert if isinstance(model, BertPretraining | BertClassifier) else model
    return tensors_of(encoder, architecture_of(encoder.config), words)
