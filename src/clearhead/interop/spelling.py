"""A foreign model's spelling: which key of its config and which of its tensors is which of ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clearhead.config import Tree, as_tree
from clearhead.errors import ModelError

Tensors = dict[str, Tensor]
Rules = Mapping[str, tuple[Any, ...]]  # key -> the values that it may have, the usual one first
ACTIVATIONS = {
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",  # of two names of theirs the later is the one that ours becomes
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in ACTIVATIONS.items()}


@dataclass(frozen=True)
class Spelling:
    """How Hugging Face writes down the models of one family."""

    name: str
    """Its ``model_type``."""
    architecture: str
    """Its class."""
    stem: str
    """What all tensors' names but the output layer's begin with; files of a model without one leave it out."""
    modules: Mapping[str, str]
    """Our module -> theirs; ``layers`` is what stands before a layer's number, and a layer's parts come without."""
    fields: Mapping[str, str]
    """Key of our config -> theirs; a key of its block is written ``block.key``."""
    defaults: Mapping[str, Any]
    """What it means that a key of theirs is not there."""
    ours: Rules
    """What our config has to say, so that theirs can say it."""
    theirs: Rules
    """What their config has to say, so that ours can say it."""

    def read(self, said: Mapping[str, Any]) -> Tree:
        """Returns their config as a tree of ours; raises ModelError for a key without a default that is not there."""
        for name in self.fields.values():
            if name not in said:
                raise ModelError(f"config.json: {name} is missing")
        flat = {own: allowed[0] for own, allowed in self.ours.items()}
        flat |= {own: said.get(name) for own, name in self.fields.items()}
        block = {own.removeprefix("block."): value for own, value in flat.items() if "." in own}
        return {own: value for own, value in flat.items() if "." not in own} | {"block": block}

    def write(self, config: Any) -> Tree:
        """Returns our config, a dataclass with a ``block``, in their keys.

        Raises:
            ModelError: theirs cannot say the same.
        """
        tree = as_tree(config)
        flat = tree | {f"block.{own}": value for own, value in tree["block"].items()}
        demand(flat, self.ours, f"Hugging Face's {self.name}: model.")
        usual = {name: allowed[0] for name, allowed in self.theirs.items()}
        return {**usual, "model_type": self.name, "architectures": [self.architecture]} | {
            name: flat[own] for own, name in self.fields.items()
        }

    def respell(self, ours: Mapping[str, Tensor]) -> Tensors:
        """Returns our tensors in their names and shapes; what need not be joined or turned shares its memory."""
        theirs: Tensors = {}
        for name, parts in self._places(ours).items():
            whole = ours[parts[0]] if len(parts) == 1 else torch.cat([ours[part] for part in parts])
            theirs[name] = _turned(name, whole)
        return theirs

    def unspell(self, theirs: Mapping[str, Tensor], blank: Mapping[str, Tensor]) -> Tensors:
        """Returns their tensors in our names and shapes, which ``blank`` has: the inverse of ``respell``."""
        ours: Tensors = {}
        for name, parts in self._places(blank).items():
            pieces = _turned(name, theirs[name]).split([len(blank[part]) for part in parts])
            ours.update(zip(parts, pieces, strict=True))
        return ours

    def _places(self, names: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Returns for each name of theirs ours, in the order in which that tensor holds them."""
        places: dict[str, list[str]] = {}
        for name in names:
            module, _, kind = name.rpartition(".")
            layer = re.match(r"layers\.\d+\.", module)
            start = layer[0] if layer else ""
            theirs = start.replace("layers", self.modules["layers"]) + self.modules[module.removeprefix(start)]
            places.setdefault(f"{theirs}.{kind}", []).append(name)
        return places


def demand(said: Mapping[str, Any], rules: Rules, before: str) -> None:
    """Refuses the first value that the rules do not admit; what is not there has the usual one.

    Raises:
        ModelError: ``before``, the key, the value and the rule.
    """
    for name, allowed in rules.items():
        if said.get(name, allowed[0]) not in allowed:
            raise ModelError(f"{before}{name} = {said[name]!r}: must be {' or '.join(map(repr, allowed))}")


def whole_number(config: Tree, key: str, usual: int | None = None) -> int:
    """Returns a size that a ``config.json`` has under ``key``, or the usual one where it has none.

    Raises:
        ModelError: there is none, or it is no size.
    """
    size = usual if config.get(key) is None else config[key]
    if type(size) is not int or size < 1:
        raise ModelError(f"config.json: {key} = {size!r}: must be a whole number of at least 1")
    return size


def check(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    """Refuses tensors that are not those of ``wanted`` by name and shape.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; the message names the first.
    """
    for name in sorted(given.keys() ^ wanted.keys()):
        raise ModelError(f"tensor {name!r} is {'missing' if name in wanted else 'not part of this model'}")
    for name, tensor in wanted.items():
        if (shape := list(given[name].shape)) != list(tensor.shape):
            raise ModelError(f"tensor {name!r} has shape {shape}, this model needs {list(tensor.shape)}")


def tie(tensors: Tensors, *, head: str, table: str) -> None:
    """Adds a tied output layer that is not there.

    Raises:
        ModelError: the one that is there is another.
    """
    if table in tensors and not torch.equal(tensors.setdefault(head, tensors[table]), tensors[table]):
        raise ModelError(f"tensor {head!r} differs from {table!r}, to which the config ties it")


def _turned(theirs: str, whole: Tensor) -> Tensor:
    """Transposes the weight of a ``Conv1D``, GPT-2's own linear layer, which is [in, out]."""
    return whole.T.contiguous() if re.search(r"\.c_\w+\.weight$", theirs) else whole
