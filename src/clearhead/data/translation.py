"""Translation batches: encoded pairs as padded tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan
from clearhead.data.corpora.joined import EncodedPairs
from clearhead.text.special import SPECIAL_IDS, SpecialIds
from clearhead.text.tokenizer import Tokenizer

IdRows = Sequence[Sequence[int] | np.ndarray]


@dataclass(frozen=True)
class Batch:
    """Padded pairs: the decoder reads ``tgt_ids``, which start with the begin mark, and predicts ``targets``."""

    src_ids: Int[Tensor, "batch src"]
    src_mask: Bool[Tensor, "batch src"] | None
    """True at pieces and the end mark, False at padding; None if no source is padded."""
    tgt_ids: Int[Tensor, "batch tgt"]
    targets: Int[Tensor, "batch tgt"]
    target_count: int
    """Number of targets that are not padding: what a summed loss is divided by."""
    indices: Int[Tensor, " batch"]
    """Numbers of the pairs in the store."""

    def to(self, device: torch.device | str) -> "Batch":
        """Returns the batch on ``device``; from pinned memory the copy does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Returns the batch in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Any) -> "Batch":
        values = (getattr(self, field.name) for field in fields(self))
        return Batch(*(change(value) if isinstance(value, Tensor) else value for value in values))


def collate_sources(
    src: IdRows, *, special: SpecialIds = SPECIAL_IDS
) -> tuple[Int[Tensor, "batch src"], Bool[Tensor, "batch src"] | None]:
    """Appends an end mark to each source (ids without marks) and pads; returns ``src_ids`` and ``src_mask``."""
    ids = _pad(src, special, begin=False)
    mask = np.arange(ids.shape[1]) <= np.array([len(row) for row in src])[:, None]
    return torch.from_numpy(ids), None if mask.all() else torch.from_numpy(mask)


def collate(
    src: IdRows, tgt: IdRows, *, indices: Int[np.ndarray, " batch"] | None = None, special: SpecialIds = SPECIAL_IDS
) -> Batch:
    """Pads pairs (ids without marks) into a batch; ``indices`` default to 0, 1, 2, ..."""
    src_ids, src_mask = collate_sources(src, special=special)
    return Batch(
        src_ids=src_ids,
        src_mask=src_mask,
        tgt_ids=torch.from_numpy(_pad(tgt, special, begin=True)),
        targets=torch.from_numpy(_pad(tgt, special, begin=False)),
        target_count=sum(len(row) + 1 for row in tgt),
        indices=torch.as_tensor(np.arange(len(src)) if indices is None else indices, dtype=torch.int64),
    )


@dataclass(frozen=True)
class BatchDataset(Dataset[Batch]):
    """Item ``i`` is batch ``i`` of the plan."""

    store: EncodedPairs
    plan: BatchPlan
    dropout: tuple[Tokenizer, Tokenizer] | None = None
    """Source and target tokenizer that encode every pair again with BPE-dropout (Provilkov et al. 2020).

    The draw depends only on the plan's seed and epoch and the number of the pair. What is read before the source line
    stays as it is.
    """
    max_len: int = 256
    """If the random segmentation has more pieces, the stored one is used."""

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> Batch:
        rows = self.plan[index]
        pairs = [self._pair(int(row)) for row in rows]
        src, tgt = [src for src, _ in pairs], [tgt for _, tgt in pairs]
        return collate(src, tgt, indices=rows, special=self.store.special)

    def _pair(self, index: int) -> IdRows:
        stored = self.store.src(index), self.store.tgt(index)
        if self.dropout is None:
            return stored
        rng = np.random.default_rng(np.random.SeedSequence([self.plan.seed, self.plan.epoch, index]))
        texts = zip(self.dropout, self.store.text(index), strict=True)
        drawn = [tokenizer.encode_with_dropout(text, rng) for tokenizer, text in texts]
        room = self.max_len - len(self.store.context(index)), self.max_len
        fits = [len(new) <= most for new, most in zip(drawn, room, strict=True)]
        drawn[0] = [*self.store.lead(index), *drawn[0]]
        src, tgt = [new if fit else old for new, old, fit in zip(drawn, stored, fits, strict=True)]
        return [src, tgt]


def _pad(rows: Sequence[Any], special: SpecialIds, *, begin: bool) -> Int[np.ndarray, "batch width"]:
    """Adds the begin mark before, or the end mark after each row, and pads to the longest row."""
    ids = np.full((len(rows), max(map(len, rows), default=0) + 1), special.pad, np.int64)
    for line, row in zip(ids, rows, strict=True):
        line[int(begin) : len(row) + int(begin)] = row
        line[0 if begin else len(row)] = special.bos if begin else special.eos
    return ids
