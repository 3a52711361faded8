"""Maps config keys and tensor names between Hugging Face and clearhead, and checks both."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from clearhead.config import Tree, as_tree, shown
from clearhead.errors import ModelError
from clearhead.ranges import Vocabulary, range_of

Tensors = dict[str, Tensor]
Rules = Mapping[str, tuple[Any, ...]]  # key -> the values that it may have, the default first
ACTIVATIONS = {  # their name -> ours; where they have two names for one of ours, the second is the one we write
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu": "gelu",
    "relu": "relu",
    "silu": "silu",
    "tanh": "tanh",
}
THEIR_ACTIVATIONS = {ours: theirs for theirs, ours in ACTIVATIONS.items()}


def flattened(config: Any) -> Tree:
    """Returns our config, a dataclass with a ``block``, as a tree in which the keys of the block are ``block.KEY``."""
    tree = as_tree(config)
    return tree | {f"block.{own}": value for own, value in tree["block"].items()}


@dataclass(frozen=True)
class Spelling:
    """The names of one model family in Hugging Face's configs and files."""

    name: str
    """Its ``model_type``."""
    architecture: str
    """Its class."""
    stem: str
    """Prefix of all tensor names except the output layer's; files of a model without an output layer leave it out."""
    modules: Mapping[str, str]
    """Our module -> theirs; ``layers`` -> the prefix of a layer's number; modules inside a layer are without prefix."""
    fields: Mapping[str, str]
    """Key of our config -> theirs; a key of our block is written ``block.key``."""
    defaults: Mapping[str, Any]
    """Their keys that a file may leave out, with the values that they then have."""
    ours: Rules
    """Values that our config must have, so that the model can be written in their format."""
    theirs: Rules
    """Values that their config must have, so that it can be read as one of our models."""

    def read(self, config: Mapping[str, Any]) -> Tree:
        """Returns their config as a tree of ours; raises ModelError for a missing key that has no default."""
        for name in self.fields.values():
            if name not in config:
                raise ModelError(f"config.json: {name} is missing")
        flat = {own: allowed[0] for own, allowed in self.ours.items()}
        flat |= {own: config.get(name) for own, name in self.fields.items()}
        block = {own.removeprefix("block."): value for own, value in flat.items() if "." in own}
        return {own: value for own, value in flat.items() if "." not in own} | {"block": block}

    def write(self, config: Any) -> Tree:
        """Returns our config, a dataclass with a ``block``, as a tree of theirs.

        Raises:
            ModelError: their format cannot express our config.
        """
        self.check(config)
        flat = flattened(config)
        fixed = {name: allowed[0] for name, allowed in self.theirs.items()}
        return {**fixed, "model_type": self.name, "architectures": [self.architecture]} | {
            name: flat[own] for own, name in self.fields.items()
        }

    def check(self, config: Any) -> None:
        """Raises ModelError, with the key, if their format cannot express our config."""
        demand(flattened(config), self.ours, f"Hugging Face's {self.name}: model.")

    def respell(self, ours: Mapping[str, Tensor]) -> Tensors:
        """Returns our tensors under their names and in their shapes, sharing memory with ours where possible."""
        theirs: Tensors = {}
        for name, parts in self._parts(ours).items():
            joined = ours[parts[0]] if len(parts) == 1 else torch.cat([ours[part] for part in parts])
            theirs[name] = _transpose_conv1d(name, joined)
        return theirs

    def unspell(self, theirs: Mapping[str, Tensor], blank: Mapping[str, Tensor]) -> Tensors:
        """Returns their tensors under the names and in the shapes of ``blank``: the inverse of ``respell``."""
        ours: Tensors = {}
        for name, parts in self._parts(blank).items():
            pieces = _transpose_conv1d(name, theirs[name]).split([len(blank[part]) for part in parts])
            ours.update(zip(parts, pieces, strict=True))
        return ours

    def _parts(self, ours: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """Returns, for each tensor of theirs, the names of our tensors that it consists of, in order."""
        parts: dict[str, list[str]] = {}
        for own in ours:
            module, _, kind = own.rpartition(".")
            layer = re.match(r"layers\.\d+\.", module)
            start = layer[0] if layer else ""
            theirs = start.replace("layers", self.modules["layers"]) + self.modules[module.removeprefix(start)]
            parts.setdefault(f"{theirs}.{kind}", []).append(own)
        return parts


def demand(values: Mapping[str, Any], rules: Rules, prefix: str) -> None:
    """Checks ``values`` against ``rules``; a key that is missing has the default.

    Raises:
        ModelError: a value is not allowed; the message is ``prefix``, the key, the value and the rule.
    """
    for name, allowed in rules.items():
        if values.get(name, allowed[0]) not in allowed:
            raise ModelError(f"{prefix}{name} = {shown(values[name])}: must be {' or '.join(map(repr, allowed))}")


def whole_number(config: Tree, key: str, default: int | None = None) -> int:
    """Returns the size that a ``config.json`` has under ``key``, or ``default`` if it has none.

    Raises:
        ModelError: there is neither, or the value is not a whole number from 1 to the largest ``Vocabulary``.
    """
    size, most = default if config.get(key) is None else config[key], range_of(Vocabulary).high
    if type(size) is not int or not 1 <= size <= (most or size):
        raise ModelError(f"config.json: {key} = {shown(size)}: must be a whole number of at least 1, at most {most}")
    return size


def check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Checks that ``tensors`` have the names and shapes of ``expected``.

    Raises:
        ModelError: a tensor is missing, unknown or of another shape; the message names the first.
    """
    for name in sorted(tensors.keys() ^ expected.keys()):
        raise ModelError(f"tensor {name!r} is {'missing' if name in expected else 'not part of this model'}")
    for name, tensor in expected.items():
        if (shape := list(tensors[name].shape)) != list(tensor.shape):
            raise ModelError(f"tensor {name!r} has shape {shape}, this model needs {list(tensor.shape)}")


def tie(tensors: Tensors, *, head: str, table: str) -> None:
    """Adds the one of a tied pair, the output layer ``head`` and the ``table``, that is not there.

    Raises:
        ModelError: both are there and differ.
    """
    if head in tensors:
        tensors.setdefault(table, tensors[head])
    if table in tensors and not torch.equal(tensors.setdefault(head, tensors[table]), tensors[table]):
        raise ModelError(f"tensor {head!r} differs from {table!r}, to which the config ties it")


def _transpose_conv1d(name: str, tensor: Tensor) -> Tensor:
    """Transposes the weight of a ``Conv1D``, GPT-2's linear layer, which is [in, out]; returns others unchanged."""
    return tensor.T.contiguous() if re.search(r"\.c_\w+\.weight$", name) else tensor
