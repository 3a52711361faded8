"""A model as one file of packed weights, which runs without PyTorch: which models go there, and what runs them."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from clearhead.engine.loops.search import NativeSearch, translate
from clearhead.engine.loops.texts import encode, logits
from clearhead.engine.rows import NativeModel, Rows
from clearhead.engine.weights.file import open_model
from clearhead.engine.weights.packing import Floats
from clearhead.errors import ModelError
from clearhead.export.runtime import Exportable, Row, Runtime
from clearhead.interop.spelling import Rules, demand, flattened
from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining, Pooler, first_of
from clearhead.models.gpt import GPTConfig
from clearhead.models.transformer import TransformerConfig
from clearhead.text.special import SpecialIds

NAME = "model.clearhead"
_RULES: Rules = {"block.norm": ("layer", "rms"), "block.attention": ("scaled_dot_product", "qk_norm")}


def check_file(config: object) -> None:
    """Raises ModelError, with the key, if the native engine cannot compute what a model of ``config`` does."""
    if not isinstance(config, TransformerConfig | GPTConfig | BertConfig):
        raise ModelError("--to file takes Transformers alone")
    demand(flattened(config), _RULES, "the native engine: model.")


class NativeFile(Runtime):
    """A file of packed weights, mapped and computed with by the native engine.

    Args:
        path: the file, or a folder with one of that ``NAME``.
        model: what was written there.
        ids: the special pieces of the target.
        never: pieces that are in no text.
        scale: see ``Ours``.

    Raises:
        ModelError: the file is damaged.
    """

    name = "clearhead"
    gives = "logits"

    def __init__(
        self,
        path: Path,
        model: Exportable,
        *,
        ids: SpecialIds,
        never: Sequence[int],
        scale: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        self.version, self.ids, self.never, self.scale = version("clearhead"), ids, list(never), scale
        self.written = model
        self.model = NativeModel(open_model(path / NAME if path.is_dir() else path).image)

    @property
    def translates(self) -> bool:
        """Whether the model has an encoder beside its decoder."""
        return bool(self.model.image.model.encoder_layers)

    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""
        if isinstance(self.written, BertPretraining | BertClassifier):
            return [torch.from_numpy(self._of_head(row)) for row in rows]
        return [torch.from_numpy(self._read(self._begun(row), row)) for row in rows]

    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """See ``Runtime``."""
        if isinstance(self.written, BertPretraining | BertClassifier):
            return None
        if self.translates:
            search = NativeSearch(self.ids.bos, self.ids.eos, forbidden=self.never)
            found = translate(self.model, [row.ids for row in rows], search, limits=limits)
            return [best[0].ids if best else [] for best in found]
        return [self._written(row, limit) for row, limit in zip(rows, limits, strict=True)]

    def _of_head(self, row: Row) -> Floats:
        """What the head says of each position, or of the text as a whole."""
        ids, segments = (np.array(each, dtype=np.int32) for each in (row.ids, row.segments or [0] * len(row.ids)))
        states = encode(self.model, ids, np.array([len(ids)], dtype=np.int32), segments)
        if not isinstance(self.written, BertClassifier):
            return logits(self.model, states.packed)
        pooler = self.written.bert.pooler
        first = isinstance(pooler, Pooler) and pooler.pool is first_of
        of_text = logits(self.model, states.pooled("first" if first else "mean"))
        return of_text * np.float32(self.scale[0]) + np.float32(self.scale[1])

    def _begun(self, row: Row) -> Rows:
        begun = self.model.rows()
        if self.translates:
            begun.join_sources([row.ids])
        else:
            begun.join_empty(1)
        return begun

    def _read(self, rows: Rows, row: Row) -> Floats:
        ids = np.array(row.ids if row.target is None else row.target, dtype=np.int32)
        return rows.extend(ids, np.array([len(ids)], dtype=np.int32), every=True)

    def _written(self, row: Row, limit: int) -> list[int]:
        rows = self._begun(row)
        scores, written = self._read(rows, row)[-1], list[int]()
        while len(written) < limit:
            scores[self.never] = -np.inf
            piece = int(scores.argmax())
            if piece == self.ids.eos:
                break
            written.append(piece)
            if len(row.ids) + len(written) >= self.model.max_len:
                break
            scores = rows.extend(np.array([piece], dtype=np.int32), np.ones(1, dtype=np.int32))[0]
        return written
