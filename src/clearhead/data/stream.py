"""The language-model stream: documents to one memory-mapped row of ids, and windows of it to batches."""

import mmap
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, sequential_batches
from clearhead.data.corpus import check_unchanged
from clearhead.data.documents import Documents, TextReport
from clearhead.data.encoded import map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError, UsageError
from clearhead.text.special import NO_TARGET
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

FORMAT = 3
CHUNK, GROUP = 1 << 16, 1 << 20  # characters that are encoded as one text, and in one call
# Where a text may be cut: before white space that follows something else. No piece of the kinds that end words at white
# space crosses this place, byte_bpe divides white space by what follows it alone, and no normalization looks across.
_CUT = re.compile(r"(?<=\S)[ \t\r\n]")
_UNCUT = ("bpe", "unigram")  # kinds that put a space in front of every text they get


class TokenStream:
    """Encoded documents, one after the other, memory-mapped. Pickles as its path.

    Each document has an end mark behind it, but for a document that is a whole split: that is its text and no more.
    Every id of the stream is a target once. What the model reads before the first one is an end mark too, as before
    every other document (an adopted tokenizer may have a mark of its own for it), so that n ids are n targets;
    generation without a prompt starts from the same mark.
    """

    def __init__(self, path: Path) -> None:
        """Opens what ``prepare_stream`` wrote at ``path``; raises DataError when that is damaged."""
        meta = open_sealed(path, version=FORMAT)
        self.path, self.report = path, TextReport(**meta["report"])
        self.begin, self.fill = int(meta["begin"]), int(meta["fill"])
        """Ids that stand before the first one, and behind the last where a window ends early."""
        self._map = map_file(path / "ids")
        self.ids: NDArray[Any] = np.frombuffer(self._map, meta["type"])
        self.starts: NDArray[np.int64] = np.fromfile(path / "starts", np.int64)
        """Where in ``ids`` each document starts."""

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStream, (self.path,)

    def __len__(self) -> int:
        return len(self.ids)

    def release(self) -> None:
        """Gives the pages read so far back to the system's cache: they no longer count as this process's."""
        self._map.madvise(mmap.MADV_DONTNEED)


def prepare_stream(
    documents: Documents,
    *,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Callable[[int, int], object] = lambda done, total: None,
    chunk: int = CHUNK,
    group: int = GROUP,
) -> TokenStream:
    """Encodes documents, or opens what an earlier run encoded from the same text in the same way.

    Args:
        documents: the text of one split.
        tokenizer: gives the ids.
        cache_dir: folder of all encoded data; each split gets one below it.
        progress: called with (characters done, characters in all).
        chunk: characters that are encoded as one text; a longer document is cut at the next white space.
        group: characters that are encoded in one call, and the end of a text.

    Raises:
        DataError: there are fewer than two tokens, the text cannot be used, or the disk is full.
    """
    return open_or_build(
        ["stream", FORMAT, documents.digest, tokenizer.fingerprint],
        cache_dir,
        reuse=documents.config.cache,
        read=TokenStream,
        write=lambda folder: _build(folder, documents, tokenizer, progress, chunk=chunk, group=group),
    )


def _build(
    folder: Path,
    documents: Documents,
    tokenizer: Tokenizer,
    progress: Callable[[int, int], object],
    *,
    chunk: int,
    group: int,
) -> None:
    """Writes the files of a stream."""
    code, ids = "H" if tokenizer.vocab_size <= 1 << 16 else "I", tokenizer.ids
    tokens, unknown, starts = 0, 0, array("q")
    with (folder / "ids").open("wb") as file:
        for texts in _groups(documents, chunk=None if tokenizer.config.kind in _UNCUT else chunk, group=group):
            row: list[int] = []
            for (_, begins), own in zip(texts, tokenizer.encode_batch([text for text, _ in texts]), strict=True):
                row += [ids.eos] * (begins and bool(starts))
                starts.extend([tokens + len(row)] * begins)
                row += own
            array(code, row).tofile(file)
            tokens, unknown = tokens + len(row), unknown + row.count(ids.unk)
            progress(documents.report.characters, documents.characters)
        marks = len(starts) if len(starts) > 1 else 0
        array(code, [ids.eos] * bool(marks)).tofile(file)
    check_unchanged(documents.stamps)
    report = replace(documents.report, tokens=tokens + bool(marks), end_marks=marks, unknown=unknown)
    if report.tokens < 2:
        raise DataError(f"{', '.join(report.files)}: {report.tokens} tokens, at least 2 are needed")
    (folder / "starts").write_bytes(starts.tobytes())
    meta = {"type": np.dtype(code).str, "report": asdict(report), "begin": tokenizer.begin, "fill": ids.fill}
    seal(folder, meta, version=FORMAT)


def _groups(documents: Iterable[str], *, chunk: int | None, group: int) -> Iterator[list[tuple[str, bool]]]:
    """Yields texts to encode in one call, and whether each begins a document; with no ``chunk`` none is cut."""
    texts: list[tuple[str, bool]] = []
    size = 0
    for document in documents:
        for number, text in enumerate([document] if chunk is None else chunks(document, size=chunk)):
            texts.append((text, number == 0))
            size += len(text)
            if size >= group:
                yield texts
                texts, size = [], 0
    if texts:
        yield texts


def chunks(text: str, *, size: int = CHUNK) -> Iterator[str]:
    """Cuts a long text where that changes no piece, except of bpe and unigram.

    To train a tokenizer on a text or to encode it takes hundreds of bytes a character.
    """
    start = 0
    while cut := _CUT.search(text, start + size):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


@dataclass(frozen=True)
class StreamBatch:
    """Windows of a stream: from ``ids`` up to a position the model predicts the target at that position.

    Where no target counts, ``targets`` is ``NO_TARGET``: behind a window shorter than the batch, and in evaluation
    before the first one that counts. Padding stands behind, so that under a causal mask no real position sees it.
    """

    ids: Int[Tensor, "batch seq"]
    targets: Int[Tensor, "batch seq"]
    target_count: int
    """Targets that count: what a summed loss is divided by."""
    document_ids: Int[Tensor, "batch seq"] | None = None
    """Number of the document inside the window: a position attends to its own alone. None: to all before it."""
    positions: Int[Tensor, "batch seq"] | None = None
    """Position since the begin of the document, or of the window inside one. None: 0, 1, 2, ..."""
    documents: Int[Tensor, " batch"] | None = None
    """Number of the document that each window begins in, from 1."""

    def to(self, device: torch.device | str) -> "StreamBatch":
        """Returns the batch on ``device``; from pinned memory the copy does not wait."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "StreamBatch":
        """Returns the batch in page-locked memory; DataLoader calls this."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "StreamBatch":
        changed: Any = {name: change(value) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True)
class Windows(Dataset[StreamBatch]):
    """Windows of a stream in batches: item ``i`` is batch ``i``. Every id is a target that counts exactly once."""

    stream: TokenStream
    spans: Int[ndarray, "windows 3"]
    """Where in the stream each window's first target is, the first one that counts, and the end."""
    plan: BatchPlan
    """Which windows each batch holds."""
    isolated: bool
    """Windows hold documents that must not see each other."""

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> StreamBatch:
        begins, firsts, ends = (column[:, None] for column in self.spans[self.plan[index]].T)
        at = begins + np.arange(-1, int((ends - begins).max()))  # batch seq+1: of every input, and the last target
        found = self.stream.ids[at.clip(0, len(self.stream) - 1)].astype(np.int64)
        found[at < 0] = self.stream.begin
        at = at[:, 1:]  # of every target
        marks = {}
        if self.isolated:
            document = np.searchsorted(self.stream.starts, at, side="right") - 1
            marks["document_ids"] = torch.from_numpy(document - document[:, :1])
            marks["positions"] = torch.from_numpy(at - np.maximum(begins, self.stream.starts[document]))
        return StreamBatch(
            ids=torch.from_numpy(np.where(at < ends, found[:, :-1], self.stream.fill)),
            targets=torch.from_numpy(np.where((firsts <= at) & (at < ends), found[:, 1:], NO_TARGET)),
            target_count=int((ends - firsts).sum()),
            documents=torch.from_numpy(np.searchsorted(self.stream.starts, begins[:, 0], side="right")),
            **marks,
        )


def training_windows(
    stream: TokenStream, *, context: int, batch_tokens: int, seed: int, epoch: int, isolated: bool = False
) -> Windows:
    """Plans one epoch: windows of ``context`` targets, ``batch_tokens // context`` of them in a batch.

    The first window is shorter by a number drawn from (seed, epoch), so that windows begin elsewhere each epoch; the
    order is drawn from the two as well. A window that begins inside a document does not see what stands before it.

    Raises:
        UsageError: not even one window fits the budget.
    """
    if not (rows := batch_tokens // context):
        raise UsageError(f"batch_tokens = {batch_tokens}: must be at least the context of {context} tokens")
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    begins = np.union1d([0], np.arange(rng.integers(context), len(stream), context))
    spans = np.stack([begins, begins, np.append(begins[1:], len(stream))], axis=1)
    starts = np.append(np.arange(0, len(spans), rows), len(spans))
    efficiency = len(stream) / (context * len(spans))
    return Windows(stream, spans, BatchPlan(rng.permutation(len(spans)), starts, seed, epoch, efficiency), isolated)


def evaluation_windows(
    stream: TokenStream, *, context: int, stride: int, batch_tokens: int, isolated: bool = False
) -> Windows:
    """Plans the scoring of a whole split: nothing random, longest windows first.

    A window scores ``stride`` targets and begins ``context - stride`` before them; only the first one of the stream,
    or, ``isolated``, of each document, scores ``context``. Isolated windows hold one document each.

    Raises:
        UsageError: ``stride`` is not from 1 to ``context``.
    """
    if not 1 <= stride <= context:
        raise UsageError(f"stride = {stride}: must be from 1 to the context of {context} tokens")
    borders = [*stream.starts.tolist(), len(stream)] if isolated else [0, len(stream)]
    spans = np.concatenate([_slide(*span, context=context, stride=stride) for span in pairwise(borders)])
    plan = sequential_batches(spans[:, 2] - spans[:, 0] - 1, batch_tokens=batch_tokens)
    return Windows(stream, spans, plan, isolated=False)


def _slide(begin: int, end: int, *, context: int, stride: int) -> Int[ndarray, "windows 3"]:
    firsts = np.append(begin, np.arange(begin + context, end, stride))
    begins = np.maximum(begin, firsts + stride - context)
    return np.stack([begins, firsts, np.append(firsts[1:], end)], axis=1)


TOKENIZER_CHARACTERS = 50_000_000  # a tokenizer is trained on this much text at the most, from the top


def train_tokenizer(documents: Documents, config: TokenizerConfig) -> Tokenizer:
    """Trains a tokenizer on the documents, or on the first ``TOKENIZER_CHARACTERS`` of them."""

    def texts() -> Iterator[str]:
        taken = 0
        for document in documents:
            for text in chunks(document):
                yield text
                taken += len(text)
                if taken >= TOKENIZER_CHARACTERS:
                    return

    return Tokenizer.train(texts(), config)
