"""A packed model becomes a tree of numbers and comes back with the same sizes, each pointer to the same array."""

import pytest

from clearhead.engine.weights.pointers import filled, read_tree
from tests.native import NATIVE, native
from tests.small import small, small_gpt
from tests.unit.engine.loops.test_texts import small_bert

pytestmark = NATIVE


def test_a_model_comes_back_from_its_tree() -> None:
    for model in (small(), small_gpt(), small_bert(n_segments=2)):
        image = native(model, weights="int8").image
        numbers = {int(array.ctypes.data): number for number, array in enumerate(image.arrays)}
        tree = read_tree(image.model, numbers)
        again, stacks = filled(tree, [array.reshape(-1).view("uint8") for array in image.arrays])
        assert read_tree(again, numbers) == tree
        assert len(stacks) == 2
        assert (tree["decoder"] or tree["encoder"])[0]["qkv"]["weight"] is not None
        assert (tree["encoder"] == []) == (tree["encoder_layers"] == 0)


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("decoder_layers", 9, "decoder_layers = 9 and 2 layers"),
        ("tgt_table", 999, r"tgt_table = array 999 of \d+"),
        ("heads", 3, "heads|has|kv_heads"),
        ("colour", 3, "colour, which this version does not know"),
        ("vocab", 10_000, "lm_head of"),
    ],
)
def test_a_tree_that_does_not_fit_is_refused(key: str, value: int, match: str) -> None:
    image = native(small(), weights="float32").image
    tree = read_tree(image.model, {int(array.ctypes.data): n for n, array in enumerate(image.arrays)})
    with pytest.raises(ValueError, match=match):
        filled({**tree, key: value}, image.arrays)
