"""The language-model stream: documents encoded into one memory-mapped array of ids, and batches of its windows."""

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
from jaxtyping import Bool, Int
from numpy import ndarray
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from clearhead.data.batching import BatchPlan, sequential_batches
from clearhead.data.corpus import check_unchanged
from clearhead.data.documents import Documents, TextReport
from clearhead.data.encoded import map_file, open_or_build, open_sealed, seal
from clearhead.errors import DataError, UsageError
from clearhead.progress import Progress, silent
from clearhead.text.special import NO_TARGET
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

_FORMAT = 3
CHUNK = 1 << 16  # characters that are encoded as one text, at least
GROUP_CHARACTERS = 1 << 20  # characters that are encoded in one call, at least
# Where a text may be cut: before white space that follows something else. In tokenizers that end words at white space
# no piece crosses this place; byte_bpe divides white space by what follows it; and no normalization looks across it.
_CUT = re.compile(r"(?<=\S)[ \t\r\n]")
_UNCUT = ("bpe", "unigram")  # kinds of tokenizer that put a space in front of every text


class TokenStream:
    """Encoded documents, one after the other, memory-mapped. Pickles as its path.

    An end mark follows each document, unless a single document is the whole split. Every id of the stream is a target
    exactly once. Before the first id the model reads ``begin``: an end mark, as before every other document, or the
    begin mark of an adopted tokenizer. So n ids give n targets. Generation without a prompt starts from the same mark.
    """

    def __init__(self, path: Path) -> None:
        """Opens what ``prepare_stream`` wrote at ``path``; raises DataError if it is damaged."""
        meta = open_sealed(path, version=_FORMAT)
        self.path, self.report = path, TextReport(**meta["report"])
        self.begin, self.fill = int(meta["begin"]), int(meta["fill"])
        """The id before the first one of the stream, and the id that fills up a window shorter than its batch."""
        self._map = map_file(path / "ids")
        self.ids: NDArray[Any] = np.frombuffer(self._map, meta["type"])
        self.starts: NDArray[np.int64] = np.fromfile(path / "starts", np.int64)
        """Start of each document in ``ids``."""

    def __reduce__(self) -> tuple[Any, ...]:
        return TokenStream, (self.path,)

    def __len__(self) -> int:
        return len(self.ids)

    def release(self) -> None:
        """Releases the pages read so far, so that they no longer count as memory of this process."""
        self._map.madvise(mmap.MADV_DONTNEED)


def prepare_stream(
    documents: Documents,
    *,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Progress = silent,
    chunk: int = CHUNK,
    group: int = GROUP_CHARACTERS,
) -> TokenStream:
    """Encodes documents, or opens the result of an earlier run on the same text and tokenizer.

    Args:
        documents: the text of one split.
        tokenizer: gives the ids.
        cache_dir: folder of all encoded data; each split gets a folder in it.
        progress: called with (characters done, characters in all).
        chunk: characters of a document that are encoded as one text, at least.
        group: characters that are encoded in one call, at least.

    Raises:
        DataError: there are fewer than two tokens, the text cannot be used, or the disk is full.
    """
    return open_or_build(
        ["stream", _FORMAT, documents.digest, tokenizer.fingerprint],
        cache_dir,
        reuse=documents.config.cache,
        read=TokenStream,
        write=lambda folder: _build(folder, documents, tokenizer, progress, chunk=chunk, group=group),
    )


def _build(
    folder: Path, documents: Documents, tokenizer: Tokenizer, progress: Progress, *, chunk: int, group: int
) -> None:
    """Writes the files of a stream."""
    code, ids = "H" if tokenizer.vocab_size <= 1 << 16 else "I", tokenizer.ids
    tokens, unknown, starts = 0, 0, array("q")
    with (folder / "ids").open("wb") as file:
        chunk_or_none = None if tokenizer.config.kind in _UNCUT else chunk
        for texts in _groups(documents, chunk=chunk_or_none, least=group):
            row, begins = _encode(texts, tokenizer, is_first=not starts)
            starts.extend(tokens + place for place in begins)
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
    seal(folder, meta, version=_FORMAT)


def _encode(group: list[tuple[str, bool]], tokenizer: Tokenizer, *, is_first: bool) -> tuple[list[int], list[int]]:
    """Returns the ids of a group of texts, and the places in them where documents begin.

    An end mark stands before each document but the first of the stream, which the group has if ``is_first``.
    """
    row: list[int] = []
    places: list[int] = []
    encoded = tokenizer.encode_batch([text for text, _ in group])
    for (_, begins), text_ids in zip(group, encoded, strict=True):
        if begins and (places or not is_first):
            row.append(tokenizer.ids.eos)
        if begins:
            places.append(len(row))
        row += text_ids
    return row, places


def _groups(documents: Iterable[str], *, chunk: int | None, least: int) -> Iterator[list[tuple[str, bool]]]:
    """Yields the texts to encode in one call, each with whether it begins a document; ``chunk`` None cuts none."""
    group: list[tuple[str, bool]] = []
    size = 0
    for document in documents:
        for number, text in enumerate([document] if chunk is None else chunks(document, chunk)):
            group.append((text, number == 0))
            size += len(text)
            if size >= least:
                yield group
                group, size = [], 0
    if group:
        yield group


def chunks(text: str, size: int = CHUNK) -> Iterator[str]:
    """Cuts a long text into chunks of ``size`` characters at least; the pieces stay, but for bpe and unigram.

    Encoding a text, or training a tokenizer on it, takes hundreds of bytes of memory per character.
    """
    start = 0
    while cut := _CUT.search(text, start + size):
        yield text[start : cut.start()]
        start = cut.start()
    yield text[start:]


@dataclass(frozen=True)
class StreamBatch:
    """Windows of a stream: at each position the model predicts the target from the ``ids`` up to that position.

    ``targets`` is ``NO_TARGET`` where nothing counts: after a window shorter than the batch, and in evaluation before
    the first target that this window scores. Padding is on the right, so that a causal mask hides it.
    """

    ids: Int[Tensor, "batch seq"]
    targets: Int[Tensor, "batch seq"]
    target_count: int
    """Number of targets that count: what a summed loss is divided by."""
    document_ids: Int[Tensor, "batch seq"] | None = None
    """Number of each position's document: a position attends only within it. None: to all positions before it."""
    positions: Int[Tensor, "batch seq"] | None = None
    """Positions counted from the start of the document, or of the window if that is later. None: 0, 1, 2, ..."""
    documents: Int[Tensor, " batch"] | None = None
    """Number, from 1, of the document in which each window begins."""

    @property
    def real(self) -> Bool[Tensor, "batch seq"]:
        """True at pieces of the window, False at the padding behind them: the last target of a window counts."""
        counts = self.targets.ne(NO_TARGET).int()
        return counts.flip(1).cummax(1).values.flip(1).bool()

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
    """Windows of a stream in batches: item ``i`` is batch ``i``. Every id counts as a target exactly once."""

    stream: TokenStream
    spans: Int[ndarray, "windows 3"]
    """Places in the stream of each window's first target, its first target that counts, and its end."""
    plan: BatchPlan
    """Which windows each batch holds."""
    isolated: bool
    """Whether positions attend only within their own document."""

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, index: int) -> StreamBatch:
        begins, firsts, ends = (column[:, None] for column in self.spans[self.plan[index]].T)
        at = begins + np.arange(-1, int((ends - begins).max()))  # batch seq+1: places of all inputs and the last target
        ids = self.stream.ids[at.clip(0, len(self.stream) - 1)].astype(np.int64)
        ids[at < 0] = self.stream.begin
        at = at[:, 1:]  # batch seq: places of the targets
        marks = {}
        if self.isolated:
            document = np.searchsorted(self.stream.starts, at, side="right") - 1
            marks["document_ids"] = torch.from_numpy(document - document[:, :1])
            marks["positions"] = torch.from_numpy(at - np.maximum(begins, self.stream.starts[document]))
        return StreamBatch(
            ids=torch.from_numpy(np.where(at < ends, ids[:, :-1], self.stream.fill)),
            targets=torch.from_numpy(np.where((firsts <= at) & (at < ends), ids[:, 1:], NO_TARGET)),
            target_count=int((ends - firsts).sum()),
            documents=torch.from_numpy(np.searchsorted(self.stream.starts, begins[:, 0], side="right")),
            **marks,
        )


def training_windows(
    stream: TokenStream, *, context: int, batch_tokens: int, seed: int, epoch: int, isolated: bool = False
) -> Windows:
    """Plans one epoch: windows of ``context`` targets, ``batch_tokens // context`` windows in a batch.

    The length of the first window is drawn from (seed, epoch), so that windows begin at other places each epoch; so is
    the order of the windows. A window that begins inside a document does not see what comes before it.

    Raises:
        UsageError: not even one window fits the budget.
    """
    rows = window_rows(context, batch_tokens)
    rng = np.random.default_rng(np.random.SeedSequence([seed, epoch]))
    spans = drawn_spans(len(stream), context, rng)
    plan = plan_windows(spans, rng.permutation(len(spans)), context=context, rows=rows, seed=seed, epoch=epoch)
    return Windows(stream, spans, plan, isolated)


def drawn_spans(size: int, context: int, rng: np.random.Generator) -> Int[ndarray, "windows 3"]:
    """Cuts ``size`` ids into windows of ``context`` targets, after a first one of a length that is drawn."""
    begins = np.union1d([0], np.arange(rng.integers(context), size, context))
    return np.stack([begins, begins, np.append(begins[1:], size)], axis=1)


def plan_windows(
    spans: Int[ndarray, "windows 3"],
    order: Int[ndarray, " windows"],
    *,
    context: int,
    rows: int,
    seed: int,
    epoch: int,
) -> BatchPlan:
    """Plans batches of ``rows`` windows each, taken in an order, every target of which counts."""
    starts = np.append(np.arange(0, len(spans), rows), len(spans))
    efficiency = float((spans[:, 2] - spans[:, 0]).sum()) / (context * len(spans))
    return BatchPlan(order, starts, seed, epoch, efficiency)


def window_rows(context: int, batch_tokens: int) -> int:
    """Returns how many windows a batch has; raises UsageError if not even one fits the budget."""
    if not (rows := batch_tokens // context):
        raise UsageError(f"batch_tokens = {batch_tokens}: must be at least the context of {context} tokens")
    return rows


def evaluation_windows(
    stream: TokenStream, *, context: int, stride: int, batch_tokens: int, isolated: bool = False
) -> Windows:
    """Plans the evaluation of a whole split: longest windows first, nothing random.

    A window scores ``stride`` targets and begins ``context - stride`` ids before them; the first window of the stream
    scores ``context`` targets. If ``isolated``, every document has windows of its own, as if it were the stream.

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
    """Returns the spans of the windows that score the ids from ``begin`` to ``end``; see ``Windows.spans``."""
    firsts = np.append(begin, np.arange(begin + context, end, stride))
    begins = np.maximum(begin, firsts + stride - context)
    return np.stack([begins, firsts, np.append(firsts[1:], end)], axis=1)


TOKENIZER_CHARACTERS = 50_000_000  # a tokenizer is trained on the first characters of the text, at most this many


def train_tokenizer(documents: Documents, config: TokenizerConfig) -> Tokenizer:
    """Trains a tokenizer on the documents, or on the first ``TOKENIZER_CHARACTERS`` of them."""

    def texts() -> Iterator[str]:
        characters = 0
        for document in documents:
            for text in chunks(document):
                yield text
                characters += len(text)
                if characters >= TOKENIZER_CHARACTERS:
                    return

    return Tokenizer.train(texts(), config)
