"""The structures of a packed model as a tree of numbers, with the number of an array in place of each pointer."""

import ctypes
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from clearhead.engine.library import KINDS, Layer, Model, NormKind
from clearhead.engine.weights.packing import GROUP, PANEL

Tree = dict[str, Any]
STACKS = {"encoder": "encoder_layers", "decoder": "decoder_layers"}
"""The fields of ``Model`` that lead to layers, and those that count them."""


def read_tree(structure: ctypes.Structure, numbers: Mapping[int, int]) -> Tree:
    """Returns what a structure holds.

    Args:
        structure: a ``Model``, or what is in one.
        numbers: of each array, by its address.
    """
    tree: Tree = {}
    for name, kind in _fields(structure):
        value = getattr(structure, name)
        if kind is ctypes.c_void_p:
            tree[name] = None if value is None else numbers[value]
        elif isinstance(value, ctypes.Structure):
            tree[name] = read_tree(value, numbers)
        elif name in STACKS:
            tree[name] = [read_tree(value[n], numbers) for n in range(getattr(structure, STACKS[name]))]
        else:
            tree[name] = value
    return tree


def filled(tree: Tree, arrays: Sequence[NDArray[Any]]) -> tuple[Model, "tuple[ctypes.Array[Layer], ...]"]:
    """Returns the model of a tree, and the layers that it leads to, which must live as long as it.

    Raises:
        ValueError: an array is smaller than the sizes beside it say, or the tree is not one of a model.
    """
    model, stacks = Model(), []
    for name, count in STACKS.items():
        layers = tree[name]
        if tree[count] != len(layers):
            raise ValueError(f"the header has {count} = {tree[count]} and {len(layers)} layers")
        stack = (Layer * max(1, len(layers)))()
        for layer, own in zip(stack, layers, strict=False):
            _fill(layer, own, arrays)
        stacks.append(stack)
        if layers or name == "decoder":
            setattr(model, name, stack)
    _fill(model, {name: value for name, value in tree.items() if name not in STACKS}, arrays)
    check_sizes(tree, arrays)
    return model, tuple(stacks)


def _fields(structure: ctypes.Structure) -> list[tuple[str, Any]]:
    return [(field[0], field[1]) for field in structure._fields_]


def _fill(structure: ctypes.Structure, tree: Tree, arrays: Sequence[NDArray[Any]]) -> None:
    kinds = dict(_fields(structure))
    for name, value in tree.items():
        if name not in kinds:
            raise ValueError(f"the header has {name}, which this version does not know")
        if isinstance(value, dict):
            _fill(getattr(structure, name), value, arrays)
        elif kinds[name] is not ctypes.c_void_p:
            _set_number(structure, name, value)
        elif value is not None:
            if not 0 <= value < len(arrays):
                raise ValueError(f"the header has {name} = array {value} of {len(arrays)}")
            setattr(structure, name, arrays[value].ctypes.data)


def _set_number(structure: ctypes.Structure, name: str, value: int | float) -> None:
    """Sets a field, unless the number does not fit it: ctypes would cut it."""
    setattr(structure, name, value)
    if isinstance(value, int) and getattr(structure, name) != value:
        raise ValueError(f"the header has {name} = {value}")


def _int4_sizes(inputs: int, outputs: int) -> dict[str, int]:
    groups = -(-inputs // GROUP)
    return {"weight": outputs * groups * GROUP // 2, "scale": 2 * outputs * groups}


SIZES: dict[int, Callable[[int, int], dict[str, int]]] = {
    KINDS["float32"]: lambda inputs, outputs: {"weight": 4 * inputs * outputs},
    KINDS["bfloat16"]: lambda inputs, outputs: {"weight": 2 * inputs * outputs},
    KINDS["int8"]: lambda inputs, outputs: {"weight": inputs * outputs, "scale": 4 * outputs, "sums": 8 * outputs},
    KINDS["int4"]: _int4_sizes,
}
"""By kind: (inputs, outputs) -> the bytes of each array of a linear layer."""


def check_sizes(tree: Tree, arrays: Sequence[NDArray[Any]]) -> None:
    """Checks that sizes fit each other and that every array is as large as they say: the kernels look at none of it.

    Raises:
        ValueError: one does not.
    """
    heads, width = tree["heads"] * tree["head"], tree["width"]
    rules = [
        *(
            (tree[name] >= 1, name)
            for name in ("d_model", "heads", "kv_heads", "head_dim", "vocab", "max_len", "width")
        ),
        *((tree[name] % PANEL == 0, name) for name in ("width", "inner", "head")),
        (tree["cache"] == KINDS["float32"], "cache"),  # the choice of who computes
        (tree["d_model"] <= width, "width"),
        (0 <= tree["d_ff"] <= tree["inner"], "d_ff"),
        (tree["head_dim"] <= tree["head"], "head"),
        (tree["heads"] % max(tree["kv_heads"], 1) == 0, "kv_heads"),
    ]
    for holds, name in rules:
        if not holds:
            raise ValueError(f"the header has {name} = {tree[name]}")
    joint = heads + 2 * tree["kv_heads"] * tree["head"]
    up = tree["inner"] * (2 if tree["gated"] else 1)
    shapes = {
        "qkv": (width, joint),
        "attn_out": (heads, width),
        "cross_q": (width, heads),
        "cross_kv": (width, joint - heads),
        "cross_out": (heads, width),
        "up": (width, up),
        "down": (tree["inner"], width),
    }
    for layer in (*tree["encoder"], *tree["decoder"]):
        for name, part in layer.items():
            if name in shapes:
                _check_linear(name, part, shapes[name], arrays)
            else:
                _check_norm(name, part, tree, arrays)
    _check_linear("lm_head", tree["lm_head"], (width, -(-tree["vocab"] // PANEL) * PANEL), arrays)
    _check_linear("transform", tree["transform"], (width, width), arrays)
    for name in ("encoder_norm", "decoder_norm", "embedding_norm", "head_norm"):
        _check_norm(name, tree[name], tree, arrays)
    _check_tables(tree, arrays)


def _check_tables(tree: Tree, arrays: Sequence[NDArray[Any]]) -> None:
    places, width = tree["max_len"], tree["width"]
    tables = {
        "src_table": tree["src_vocab"] * width,
        "tgt_table": tree["vocab"] * width,
        "src_positions": places * width,
        "tgt_positions": places * width,
        "cos": places * tree["head_dim"],
        "sin": places * tree["head_dim"],
        "segments": tree["segment_count"] * width,
        "left": tree["heads"],
        "right": tree["heads"],
    }
    for name, count in tables.items():
        if name.endswith("table") and tree[name.replace("table", "panels")]:
            if name == "src_table" and tree["src_vocab"] > tree["vocab"]:
                raise ValueError(f"the header has src_vocab = {tree['src_vocab']}")
        else:
            _check_array(name, tree[name], 4 * count, arrays)


def _check_linear(name: str, part: Tree, shape: tuple[int, int], arrays: Sequence[NDArray[Any]]) -> None:
    if part["weight"] is None:
        return
    inputs, outputs = part["inputs"], part["outputs"]
    if (inputs, outputs) != shape or inputs % PANEL or outputs % PANEL:
        raise ValueError(
            f"the header has {name} of {inputs} inputs and {outputs} outputs, not {shape[0]} and {shape[1]}"
        )
    if part["kind"] not in SIZES:
        raise ValueError(f"the header has {name} of kind {part['kind']}")
    for vector, size in SIZES[part["kind"]](inputs, outputs).items():
        if part[vector] is None:
            raise ValueError(f"the header has {name} without {vector}")
        _check_array(f"{name}.{vector}", part[vector], size, arrays)
    _check_array(f"{name}.bias", part["bias"], 4 * outputs, arrays)


def _check_norm(name: str, part: Tree, tree: Tree, arrays: Sequence[NDArray[Any]]) -> None:
    if part["kind"] != NormKind.NONE and part["gain"] is None:
        raise ValueError(f"the header has {name} without gain")
    for vector in ("gain", "bias"):
        _check_array(f"{name}.{vector}", part[vector], 4 * tree["d_model"], arrays)


def _check_array(name: str, number: int | None, size: int, arrays: Sequence[NDArray[Any]]) -> None:
    if number is not None and arrays[number].nbytes < size:
        raise ValueError(f"the header has {name} of {arrays[number].nbytes} bytes, not {size}")
