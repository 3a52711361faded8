"""A model as one file of packed weights, which runs without PyTorch: which models go there, and what runs them."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clearhead.engine.loops.texts import encode, logits
from clearhead.engine.rows import NativeModel
from clearhead.engine.weights.file import open_model
from clearhead.engine.weights.packing import Floats
from clearhead.errors import ModelError
from clearhead.export.ours import Ours
from clearhead.export.runtime import Exportable, Row
from clearhead.interop.spelling import Rules, demand, flattened
from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining, Pooler, first_of
from clearhead.models.gpt import GPTConfig
from clearhead.models.transformer import TransformerConfig

NAME = "model.clearhead"
_RULES: Rules = {"block.norm": ("layer", "rms"), "block.attention": ("scaled_dot_product", "qk_norm")}


def check_file(config: object) -> None:
    """Raises ModelError, with the key, if the native engine cannot compute what a model of ``config`` does."""
    if not isinstance(config, TransformerConfig | GPTConfig | BertConfig):
        raise ModelError("--to file takes Transformers alone")
    demand(flattened(config), _RULES, "the native engine: model.")


class NativeFile(Ours):
    """A file of packed weights, mapped and computed with by the native engine.

    Args:
        path: the file, or a folder with one of that ``NAME``.
        model: what was written there, for its class.
        ends: pieces that end a text.
        never: pieces that are in no text.
        scale: see ``Ours``.

    Raises:
        ModelError: the file is damaged.
    """

    name = "clearhead"

    def __init__(
        self,
        path: Path,
        model: Exportable,
        *,
        ends: Sequence[int],
        never: Sequence[int],
        scale: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        super().__init__(model, ends=ends, never=never, scale=scale)
        self.version = version("clearhead")
        self._native = NativeModel(open_model(path / NAME if path.is_dir() else path).image)

    @property
    def _writer(self) -> NativeModel:
        """See ``Ours``."""
        return self._native

    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""
        compute = self._of_head if isinstance(self.model, BertPretraining | BertClassifier) else self._of_positions
        return [torch.from_numpy(compute(row)) for row in rows]

    def _of_positions(self, row: Row) -> Floats:
        """What comes next at each position of a text, or of the target of a translation."""
        rows, ids = self._native.rows(), np.array(row.ids if row.target is None else row.target, dtype=np.int32)
        if row.target is None:
            rows.join_empty(1)
        else:
            rows.join_sources([row.ids])
        return rows.extend(ids, np.array([len(ids)], dtype=np.int32), every=True)

    def _of_head(self, row: Row) -> Floats:
        """What the head says of each position, or of the text as a whole."""
        ids, segments = (np.array(each, dtype=np.int32) for each in (row.ids, row.segments or [0] * len(row.ids)))
        states = encode(self._native, ids, np.array([len(ids)], dtype=np.int32), segments)
        if not isinstance(self.model, BertClassifier):
            return logits(self._native, states.packed)
        pooler = self.model.bert.pooler
        first = isinstance(pooler, Pooler) and pooler.pool is first_of
        of_text = logits(self._native, states.pooled("first" if first else "mean"))
        return of_text * np.float32(self.scale[0]) + np.float32(self.scale[1])
