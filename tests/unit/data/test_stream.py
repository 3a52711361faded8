"""The stream: every id a target exactly once, documents kept apart when asked, the same batches after any stop."""

import dataclasses
import json
import os
import pickle
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clearhead.data import stream as module
from clearhead.data.documents import Documents, DocumentsConfig, read_documents
from clearhead.data.loading import load
from clearhead.data.stream import (
    StreamBatch,
    TokenStream,
    Windows,
    evaluation_windows,
    prepare_stream,
    training_windows,
)
from clearhead.errors import DataError, UsageError
from clearhead.text.pipeline import TokenizerKind
from clearhead.text.special import NO_TARGET
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

EOS, PAD = 2, 0
# No character twice, so that (piece before, piece) is in a stream once: documents of 1 to 30 pieces.
LINES = ["".join(chr(0x4E00 + 40 * line + i) for i in range(1 + line * 7 % 30)) for line in range(25)]
CHARS = Tokenizer.train(LINES, TokenizerConfig(kind="char", vocab_size=1000, min_frequency=1))


def documents(folder: Path, text: str, **config: Any) -> Documents:
    folder.mkdir(exist_ok=True)
    for stem, content in (("train", text), ("valid", "x")):
        (folder / f"{stem}.txt").write_bytes(content.encode())
    return read_documents(folder, split="train", config=DocumentsConfig(**config))


def build(
    folder: Path, text: str = "\n".join(LINES), tokenizer: Tokenizer = CHARS, chunk: int = module.CHUNK, **config: Any
) -> TokenStream:
    texts = documents(folder, text, **{"separator": "line", **config})
    return prepare_stream(texts, tokenizer=tokenizer, cache_dir=folder / "cache", chunk=chunk)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> TokenStream:
    return build(tmp_path_factory.mktemp("lines"))


def same(first: Iterable[StreamBatch], second: Iterable[StreamBatch]) -> bool:
    pairs = [zip(vars(a).values(), vars(b).values(), strict=True) for a, b in zip(first, second, strict=True)]
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for pair in pairs for a, b in pair)


def bigrams(batches: Iterable[StreamBatch]) -> Counter[int]:
    """Counts (input, target) where the target counts, and checks that the batches count alike."""
    counts = Counter[int]()
    for batch in batches:
        real = batch.targets != NO_TARGET
        assert int(real.sum()) == batch.target_count > 0
        counts.update(((batch.ids[real] << 32) + batch.targets[real]).tolist())
    return counts


def bigrams_of(stream: TokenStream) -> Counter[int]:
    before = np.concatenate([[EOS], stream.ids[:-1]]).astype(np.int64)
    return Counter(((before << 32) + stream.ids).tolist())


def test_documents_end_in_marks(lines: TokenStream) -> None:
    assert lines.ids.tolist() == [i for line in LINES for i in [*CHARS.encode(line), EOS]]
    assert lines.ids.dtype == np.uint16
    assert [lines.ids[start] for start in lines.starts] == [CHARS.encode(line)[0] for line in LINES]
    report = lines.report
    assert (len(lines), report.tokens, report.end_marks, report.unknown) == (len(lines.ids), len(lines.ids), 25, 0)
    assert (report.documents, report.characters) == (25, len(lines) - 25)
    assert report.lines()[-1] == f"  {len(lines)} tokens, 25 of them end marks; 0 unknown"


def test_a_single_document_is_its_text_alone(tmp_path: Path) -> None:
    stream = build(tmp_path, "ab\nc", separator="file")
    assert stream.ids.tolist() == [3] * 4, "all unknown"
    assert stream.starts.tolist() == [0]
    assert (stream.report.tokens, stream.report.end_marks, stream.report.unknown) == (4, 0, 4)


def test_ids_are_as_narrow_as_the_vocabulary_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "vocab_size", 70_000)
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda _, texts: [[69_999, 4]] * len(texts))
    stream = build(tmp_path, "a\nb")
    assert stream.ids.dtype == np.uint32
    assert stream.ids.tolist() == [69_999, 4, 2, 69_999, 4, 2]


def test_a_copy_carries_its_path_alone(lines: TokenStream) -> None:
    data = pickle.dumps(lines)
    assert len(data) < 500
    lines.release()
    copy = pickle.loads(data)
    assert copy.ids.tolist() == lines.ids.tolist()
    assert copy.report == lines.report


def test_the_same_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    plain = Tokenizer.encode_batch
    monkeypatch.setattr(Tokenizer, "encode_batch", lambda *given: (calls.append(1), plain(*given))[1])
    first = build(tmp_path)
    again = build(tmp_path, workers=2, packing="isolated")
    assert (again.path, again.report, calls) == (first.path, first.report, [1])
    assert build(tmp_path, cache=False).path == first.path
    assert len(calls) == 2
    other = Tokenizer.train(["other"], TokenizerConfig(kind="char"))
    changed = [build(tmp_path, separator="file"), build(tmp_path, tokenizer=other), build(tmp_path, "text")]
    assert len({first.path, *(stream.path for stream in changed)}) == 4


def test_damage_is_refused_by_open_and_mended_by_prepare(tmp_path: Path) -> None:
    stream = build(tmp_path)
    ids, meta, written = stream.path / "ids", stream.path / "meta.json", stream.ids.tolist()
    ids.write_bytes(ids.read_bytes()[:-2])
    with pytest.raises(DataError, match="damaged"):
        TokenStream(stream.path)
    assert build(tmp_path).ids.tolist() == written
    meta.write_text(json.dumps({**json.loads(meta.read_text()), "format": 0}))
    with pytest.raises(DataError, match="another version"):
        TokenStream(stream.path)
    meta.unlink()
    with pytest.raises(DataError, match=r"cannot be read .*; delete the folder"):
        TokenStream(stream.path)
    assert len(build(tmp_path)) == len(stream)


def test_what_is_not_finished_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, seen = documents(tmp_path, "\n".join(LINES), separator="line"), []

    def interrupt(done: int, total: int) -> None:
        seen.append((done, total))
        if done > 200:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_stream(found, tokenizer=CHARS, cache_dir=tmp_path / "cache", progress=interrupt, group=100)
    assert len(seen) == 2
    assert all(0 < done <= total == len("\n".join(LINES)) for done, total in seen)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written to '.*cache': No space left on device"):
        build(tmp_path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_builders_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, raced = Path.rename, []

    def late(self: Path, target: Path) -> Path:
        if not raced:
            raced.append(True)
            build(tmp_path)  # the other process is done just before
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert build(tmp_path).report.documents == 25
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize(("text", "count"), [(" \n", 0), ("a", 1)])
def test_nothing_to_predict_is_one_line(tmp_path: Path, text: str, count: int) -> None:
    with pytest.raises(DataError, match=rf"train\.txt: {count} tokens, at least 2 are needed"):
        build(tmp_path, text)


KINDS: tuple[TokenizerKind, ...] = get_args(TokenizerKind)
SAMPLE = (
    "It 's a  long\n\nroad ,\n \n\t isn't\r\nit ?\u2028Σοφός ΟΔΟΣ\nnaïve ｆｕｌｌ　ｗｉｄｅ 12\n30 你好，\n世界。\n\n\n"
    * 5
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("normalization", ["none", "nfkc"])
def test_a_long_document_in_parts_gives_the_same_pieces(
    tmp_path: Path, kind: TokenizerKind, normalization: Any
) -> None:
    config = TokenizerConfig(kind=kind, vocab_size=340, normalization=normalization, lowercase=normalization != "none")
    tokenizer = Tokenizer.train([SAMPLE], config)
    for chunk in (1, 7, 50):
        stream = build(tmp_path, SAMPLE, tokenizer, chunk, separator="file", cache=False)
        assert stream.ids.tolist() == tokenizer.encode(SAMPLE)
        assert stream.report.documents == 1


@given(text=st.text("a.\n\r\t \u2028\u00a0\u3000'’é\u0301Σ1你，<"))
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("kind", ["char", "byte_bpe", "wordpiece"])
def test_no_piece_crosses_a_cut(kind: TokenizerKind, text: str) -> None:
    tokenizer = TOKENIZERS[kind]
    cuts = [match.start() for match in module._CUT.finditer(text)]
    parts = [text[i:j] for i, j in pairwise([0, *cuts, len(text)])]
    assert [i for ids in tokenizer.encode_batch(parts) for i in ids] == tokenizer.encode(text)


TOKENIZERS = {
    kind: Tokenizer.train([SAMPLE], TokenizerConfig(kind=kind, vocab_size=400, normalization="nfkc", lowercase=True))
    for kind in KINDS[:4]
}


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(("context", "batch_tokens"), [(1, 1), (7, 7), (16, 70), (64, 200), (1000, 5000)])
def test_every_token_is_a_target_once_an_epoch(
    lines: TokenStream, context: int, batch_tokens: int, isolated: bool
) -> None:
    expected = bigrams_of(lines)
    assert set(expected.values()) == {1}
    for epoch in range(4):
        windows = training_windows(
            lines, context=context, batch_tokens=batch_tokens, seed=1, epoch=epoch, isolated=isolated
        )
        batches = list(load(windows))
        assert len(batches) == len(windows)
        assert bigrams(batches) == expected
        assert sum(batch.target_count for batch in batches) == len(lines)
        assert max(batch.ids.numel() for batch in batches) <= batch_tokens
        rows = [len(batch.ids) for batch in batches]
        assert {*rows[:-1], max(rows)} <= {batch_tokens // context} or len(rows) == 1
        assert windows.plan.efficiency == len(lines) / (context * len(windows.spans))


def test_a_window_is_a_stretch_of_the_stream(lines: TokenStream) -> None:
    windows = training_windows(lines, context=16, batch_tokens=64, seed=0, epoch=0)
    before = [EOS, *lines.ids.tolist()]
    for index, batch in enumerate(load(windows)):
        assert batch.document_ids is batch.positions is None
        for (begin, first, end), ids, targets in zip(
            windows.spans[windows.plan[index]].tolist(), batch.ids.tolist(), batch.targets.tolist(), strict=True
        ):
            missing = len(ids) - (end - begin)
            assert ids == before[begin:end] + [PAD] * missing
            assert targets == before[begin + 1 : end + 1] + [NO_TARGET] * missing
            assert first == begin
        assert batch.real.sum(1).tolist() == [end - begin for begin, _, end in windows.spans[windows.plan[index]]]
        assert not (batch.real[:, 1:] > batch.real[:, :-1]).any(), "padding stands behind"
    lengths = np.diff(windows.spans[:, [0, 2]]).ravel().tolist()
    assert Counter(lengths)[16] >= len(lengths) - 2, "only the first and the last window may be shorter"


def test_borders_and_order_change_from_epoch_to_epoch(lines: TokenStream) -> None:
    def drawn(seed: int = 3, epoch: int = 0) -> Windows:
        return training_windows(lines, context=16, batch_tokens=32, seed=seed, epoch=epoch)

    borders = {int(drawn(epoch=epoch).spans[1, 0]) for epoch in range(100)}
    assert borders == set(range(1, 17))
    assert same(load(drawn()), load(drawn()))
    orders = [drawn(**how).plan.order.tolist() for how in ({}, {"epoch": 1}, {"seed": 4})]
    assert all(a != b[: len(a)] for a, b in pairwise([sorted(orders[0]), *orders]))


def test_isolated_documents_do_not_mix(lines: TokenStream) -> None:
    owner = {piece: number for number, line in enumerate(LINES) for piece in CHARS.encode(line)}
    place = {piece: at + 1 for line in LINES for at, piece in enumerate(CHARS.encode(line))}
    for epoch in range(3):
        windows = training_windows(lines, context=40, batch_tokens=160, seed=0, epoch=epoch, isolated=True)
        for batch in load(windows):
            assert batch.document_ids is not None
            assert batch.positions is not None
            for row in zip(batch.ids, batch.targets, batch.document_ids, batch.positions, strict=True):
                check_row(*(column.tolist() for column in row), owner=owner, place=place)


def check_row(
    ids: list[int],
    targets: list[int],
    numbers: list[int],
    positions: list[int],
    *,
    owner: dict[int, int],
    place: dict[int, int],
) -> None:
    """A piece is read and predicted under the number of its document, and as far in as it is in sight."""
    first = owner[targets[0] if targets[0] != EOS else ids[0]]
    assert numbers[0] == positions[0] == 0
    for read, target, number, position in zip(ids, targets, numbers, positions, strict=True):
        if read == PAD or target == NO_TARGET:
            assert target == NO_TARGET
            continue
        if read == EOS:
            assert position == 0, "the mark before a document is its first input"
        else:
            assert owner[read] == first + number
            assert position == place[read] - (place[ids[0]] if number == 0 and ids[0] != EOS else 0)
        assert target == EOS or owner[target] == first + number


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("isolated", [False, True])
def test_any_workers_and_any_start_give_the_same(lines: TokenStream, workers: int, isolated: bool) -> None:
    windows = training_windows(lines, context=16, batch_tokens=48, seed=5, epoch=2, isolated=isolated)
    random = torch.get_rng_state()
    whole = list(load(windows))
    assert len(whole) > 5
    assert torch.equal(torch.get_rng_state(), random), "the global state is left alone"
    for start in (0, 3, len(whole)):
        assert same(load(windows, start=start, workers=workers), whole[start:])


def test_batch_moves_whole(lines: TokenStream) -> None:
    for isolated in (False, True):
        windows = training_windows(lines, context=16, batch_tokens=48, seed=5, epoch=2, isolated=isolated)
        moved = windows[0].to("meta")
        for field in dataclasses.fields(StreamBatch):
            value, was = getattr(moved, field.name), getattr(windows[0], field.name)
            assert value.device.type == "meta" if isinstance(was, torch.Tensor) else value == was
            assert not isinstance(was, torch.Tensor) or was.dtype == torch.int64


@pytest.mark.parametrize(("context", "stride"), [(16, 16), (16, 4), (16, 15), (16, 1), (500, 100), (1, 1)])
@pytest.mark.parametrize("isolated", [False, True])
def test_evaluation_scores_each_target_once_with_context(
    lines: TokenStream, context: int, stride: int, isolated: bool
) -> None:
    windows = evaluation_windows(lines, context=context, stride=stride, batch_tokens=64, isolated=isolated)
    assert bigrams(load(windows)) == bigrams_of(lines)
    assert same(load(windows), load(windows))
    begins = set(lines.starts.tolist() if isolated else [0])
    for begin, first, end in windows.spans.tolist():
        assert end - begin <= context
        assert first - begin >= context - stride or begin in begins
        assert first == begin or begin not in begins or first - begin == context - stride
        if isolated:
            assert np.searchsorted(lines.starts, begin, "right") == np.searchsorted(lines.starts, end - 1, "right")
    lengths = [length for batch in load(windows) for length in batch.real.sum(1).tolist()]
    assert sorted(lengths) == sorted((windows.spans[:, 2] - windows.spans[:, 0]).tolist()), "what is only read is real"
    marks = sum(int((batch.ids[:, 1:] == EOS).sum()) for batch in load(windows))
    assert not isolated or marks == 0, "no mark but the first one is read"
    if stride == context and not isolated:
        assert windows.spans[:-1, 2].tolist() == windows.spans[1:, 0].tolist()


def test_evaluation_batches_keep_to_the_budget(lines: TokenStream) -> None:
    windows = evaluation_windows(lines, context=20, stride=10, batch_tokens=64, isolated=True)
    shapes = [batch.ids.shape for batch in load(windows)]
    assert max(rows * width for rows, width in shapes) <= 64
    assert [width for _, width in shapes] == sorted((width for _, width in shapes), reverse=True)
    assert windows[0].document_ids is None, "a window holds one document"


def test_sizes_must_fit(lines: TokenStream) -> None:
    for stride in (0, 17):
        with pytest.raises(UsageError, match=rf"stride = {stride}: must be from 1 to the context of 16 tokens"):
            evaluation_windows(lines, context=16, stride=stride, batch_tokens=64)
    with pytest.raises(UsageError, match="batch_tokens = 15: must be at least the context of 16 tokens"):
        training_windows(lines, context=16, batch_tokens=15, seed=0, epoch=0)


@pytest.mark.long
def test_tiny_shakespeare_exactly_once(shared_data: Path, tmp_path: Path) -> None:
    train, valid = (
        read_documents(shared_data / "tiny-shakespeare", split=split, config=DocumentsConfig())
        for split in ("train", "valid")
    )
    tokenizer = Tokenizer.train(train, TokenizerConfig(kind="char", min_frequency=1))
    stream = prepare_stream(train, tokenizer=tokenizer, cache_dir=tmp_path)
    assert (len(stream), stream.report.end_marks, stream.report.unknown) == (1_003_854, 0, 0)
    windows = training_windows(stream, context=256, batch_tokens=256 * 64, seed=0, epoch=0)
    assert windows.plan.efficiency > 0.999
    assert bigrams(load(windows)) == bigrams_of(stream)
    stream = prepare_stream(valid, tokenizer=tokenizer, cache_dir=tmp_path)
    for stride in (64, 256):
        scored = evaluation_windows(stream, context=256, stride=stride, batch_tokens=1 << 15)
        assert sum(batch.target_count for batch in load(scored)) == len(stream) == 111_540


@pytest.mark.long
def test_wikitext_exactly_once(shared_data: Path, tmp_path: Path) -> None:
    text = (shared_data / "wikitext-2" / "valid.txt").read_bytes().decode()
    tokenizer = Tokenizer.train([text], TokenizerConfig(vocab_size=1000))
    configs = [DocumentsConfig(separator=separator) for separator in ("file", "blank_line")]
    texts = [read_documents(shared_data / "wikitext-2", split="valid", config=config) for config in configs]
    whole, blocks = (prepare_stream(read, tokenizer=tokenizer, cache_dir=tmp_path) for read in texts)
    assert len(list(module.chunks(text))) == 18
    assert whole.ids.tolist() == tokenizer.encode(text)
    assert blocks.report.end_marks == len(blocks.starts) == 1160
    windows = training_windows(blocks, context=128, batch_tokens=4096, seed=0, epoch=1, isolated=True)
    assert bigrams(load(windows)) == bigrams_of(blocks)
    scored = evaluation_windows(blocks, context=128, stride=64, batch_tokens=1 << 14, isolated=True)
    assert bigrams(load(scored)) == bigrams_of(blocks)
