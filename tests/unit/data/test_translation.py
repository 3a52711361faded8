"""Translation batches: marks and padding in their places, the same batches for any number of workers."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from clearhead.data.batching import BatchPlan, plan_batches
from clearhead.data.corpus import DataConfig, read_parallel
from clearhead.data.loading import load
from clearhead.data.store import PairStore, prepare
from clearhead.data.translation import Batch, BatchDataset, collate, collate_sources
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

LINES = [(f"{i} {'ab cd ' * (i % 7)}x", f"yes {'ef gh ' * (i * i % 5)}{i}") for i in range(60)]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train([text for pair in LINES for text in pair], TokenizerConfig(vocab_size=290, dropout=0.3))


@pytest.fixture(scope="module")
def store(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    folder = tmp_path_factory.mktemp("corpus")
    for side, name in enumerate(("src", "tgt")):
        (folder / f"train.{name}").write_text("".join(f"{pair[side]}\n" for pair in LINES))
    files = read_parallel(folder, stem="train", src="src", tgt="tgt")
    config = DataConfig(max_len=40)
    return prepare(files, src=tokenizer, tgt=tokenizer, config=config, cache_dir=folder, keep_text=True)


@pytest.fixture(scope="module")
def plan(store: PairStore) -> BatchPlan:
    return plan_batches(*store.lengths, batch_tokens=200, seed=5, epoch=2)


def same(first: Batch, second: Batch) -> bool:
    pairs = zip(vars(first).values(), vars(second).values(), strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)


def all_same(first: Iterator[Batch], second: Iterator[Batch]) -> bool:
    return all(same(a, b) for a, b in zip(first, second, strict=True))


def test_marks_and_padding_stand_where_they_should() -> None:
    batch = collate([np.array([7, 8], np.uint16), np.array([9], np.uint16)], [[5], [5, 6, 7]])
    assert batch.src_ids.tolist() == [[7, 8, 2], [9, 2, 0]]
    assert batch.src_mask is not None
    assert batch.src_mask.tolist() == [[True, True, True], [True, True, False]]
    assert batch.tgt_ids.tolist() == [[1, 5, 0, 0], [1, 5, 6, 7]]
    assert batch.targets.tolist() == [[5, 2, 0, 0], [5, 6, 7, 2]]
    assert batch.target_count == 6
    assert batch.indices.tolist() == [0, 1]
    assert {value.dtype for value in vars(batch).values() if isinstance(value, torch.Tensor)} == {
        torch.int64,
        torch.bool,
    }


def test_no_mask_where_nothing_is_padded() -> None:
    ids, mask = collate_sources([[4, 5], [6, 7]])
    assert mask is None
    assert ids.tolist() == [[4, 5, 2], [6, 7, 2]]
    assert collate_sources([[], [4]])[0].tolist() == [[2, 0], [4, 2]]


def test_batch_moves_whole() -> None:
    batch = collate([[4, 5], [6]], [[4], [5, 6]])
    moved = batch.to("meta")
    for field in dataclasses.fields(Batch):
        value, was = getattr(moved, field.name), getattr(batch, field.name)
        assert value.device.type == "meta" if isinstance(was, torch.Tensor) else value == was


def test_batches_hold_the_pairs_of_the_plan(store: PairStore, plan: BatchPlan, tokenizer: Tokenizer) -> None:
    seen: list[int] = []
    for number, batch in enumerate(load(BatchDataset(store, plan))):
        assert batch.indices.tolist() == plan[number].tolist()
        assert max(batch.src_ids.numel(), batch.tgt_ids.numel()) <= 200
        assert batch.target_count == int((batch.targets != 0).sum())
        for index, src, tgt in zip(batch.indices.tolist(), batch.src_ids, batch.targets, strict=True):
            assert (tokenizer.decode(src.tolist()), tokenizer.decode(tgt.tolist())) == LINES[index]
        seen += batch.indices.tolist()
    assert sorted(seen) == list(range(len(LINES)))


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("dropout", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_any_workers_and_any_start_give_the_same(
    store: PairStore, plan: BatchPlan, tokenizer: Tokenizer, workers: int, dropout: bool
) -> None:
    both = (tokenizer, tokenizer) if dropout else None
    whole = list(load(BatchDataset(store, plan, both)))
    assert len(whole) == len(plan) > 4
    for start in (0, 3, len(plan)):
        assert all_same(load(BatchDataset(store, plan, both), start=start, workers=workers), iter(whole[start:]))


def test_global_random_state_is_left_alone(store: PairStore, plan: BatchPlan) -> None:
    before = torch.get_rng_state()
    next(load(BatchDataset(store, plan)))
    assert torch.equal(torch.get_rng_state(), before)


def drawn_pieces(store: PairStore, tokenizer: Tokenizer, **how: int) -> dict[int, list[int]]:
    drawn = plan_batches(*store.lengths, **{"batch_tokens": 300, "seed": 1, "epoch": 0, **how})
    batches = list(load(BatchDataset(store, drawn, (tokenizer, tokenizer))))
    rows = (pair for batch in batches for pair in zip(batch.indices.tolist(), batch.src_ids.tolist(), strict=True))
    return {index: row[: row.index(2)] for index, row in rows}


def test_dropout_changes_from_epoch_to_epoch_but_not_the_text(store: PairStore, tokenizer: Tokenizer) -> None:
    first, second, third = (drawn_pieces(store, tokenizer, seed=s, epoch=e) for s, e in ((1, 0), (1, 1), (2, 0)))
    plain = {index: tokenizer.encode(src) for index, (src, _) in enumerate(LINES)}
    for index, (src, _) in enumerate(LINES):
        assert {tokenizer.decode(batch[index]) for batch in (first, second, third)} == {src}
    for a, b in ((first, second), (first, third), (first, plain)):
        assert sum(a[index] != b[index] for index in a) > 20


def test_dropout_of_a_pair_does_not_depend_on_its_batch(store: PairStore, tokenizer: Tokenizer) -> None:
    assert drawn_pieces(store, tokenizer, batch_tokens=200) == drawn_pieces(store, tokenizer, batch_tokens=1000)


def test_dropout_draws_for_each_pair(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name in ("src", "tgt"):
        (tmp_path / f"train.{name}").write_text("ab cd ab cd\n" * 20)
    files = read_parallel(tmp_path, stem="train", src="src", tgt="tgt")
    config = DataConfig(drop_duplicates=False)
    alike = prepare(files, src=tokenizer, tgt=tokenizer, config=config, cache_dir=tmp_path, keep_text=True)
    assert len({str(row) for row in drawn_pieces(alike, tokenizer).values()}) > 3


def test_dropout_never_exceeds_the_longest_allowed(store: PairStore, plan: BatchPlan, tokenizer: Tokenizer) -> None:
    limit = int(max(map(np.max, store.lengths)))
    both = (tokenizer, tokenizer)
    wide = BatchDataset(store, plan, both)
    tight = BatchDataset(store, plan, both, max_len=limit)
    assert max(wide[i].src_ids.shape[1] for i in range(len(plan))) > limit + 1
    assert max(tight[i].src_ids.shape[1] for i in range(len(plan))) <= limit + 1


def test_real_text_with_workers(shared_data: Path, tmp_path: Path) -> None:
    files = read_parallel(shared_data / "tatoeba-zh-en", stem="valid", src="zh", tgt="en")
    learned = Tokenizer.train([text for _, *both in files for text in both], TokenizerConfig(vocab_size=1000))
    store = prepare(files, src=learned, tgt=learned, config=DataConfig(), cache_dir=tmp_path)
    drawn = plan_batches(*store.lengths, batch_tokens=1024, seed=0, epoch=0)
    assert drawn.efficiency > 0.85
    assert all_same(load(BatchDataset(store, drawn), workers=2), load(BatchDataset(store, drawn)))
