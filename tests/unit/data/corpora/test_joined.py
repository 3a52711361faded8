"""Pairs of several corpora are those of each, with the tag of their language, in the shares that were asked for."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from clearhead.data.batching import plan_batches
from clearhead.data.corpora.joined import EncodedCorpus, JoinedPairs
from clearhead.data.corpora.mixture import ParallelCorpus
from clearhead.data.corpus import DataConfig, ParallelFiles
from clearhead.data.store import prepare
from clearhead.data.translation import BatchDataset
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

TEXTS = {"a": [f"line {number} of a" for number in range(30)], "b": ["b one", "b two and more", "b three"]}


@pytest.fixture(params=[0.0, 0.3], ids=["plain", "dropout"])
def joined(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Tokenizer, JoinedPairs]:
    config = TokenizerConfig(vocab_size=300, tags=("de", "en"), dropout=request.param)
    tokenizer = Tokenizer.train([text for texts in TEXTS.values() for text in texts], config)
    parts = []
    for name, tag in (("a", "de"), ("b", "en")):
        for side in ("x", "y"):
            text = "".join(f"{line} {side}\n" for line in TEXTS[name])
            (tmp_path / f"{name}.{side}").write_text(text, encoding="utf-8")
        files = ParallelFiles(tmp_path / f"{name}.x", tmp_path / f"{name}.y")
        options = {"config": DataConfig(), "cache_dir": tmp_path / "cache", "keep_text": True}
        store = prepare(files, src=tokenizer, tgt=tokenizer, **options)  # type: ignore[arg-type]
        parts.append(EncodedCorpus(ParallelCorpus(name, src="x", tgt="y"), store, (tokenizer.tags[tag],)))
    return tokenizer, JoinedPairs(parts, temperature=2.0)


def test_pairs_stand_side_by_side_behind_their_tags(joined: tuple[Tokenizer, JoinedPairs]) -> None:
    tokenizer, pairs = joined
    assert tokenizer.tags == {"de": 4, "en": 5}
    assert len(pairs) == 33
    for index, (tag, text) in {0: (4, "line 0 of a"), 29: (4, "line 29 of a"), 30: (5, "b one")}.items():
        assert pairs.text(index) == (f"{text} x", f"{text} y")
        assert pairs.src(index).tolist() == [tag, *tokenizer.encode(f"{text} x")]
        assert pairs.tgt(index).tolist() == tokenizer.encode(f"{text} y")
        assert pairs.lead(index) == [tag]
        assert [int(lengths[index]) for lengths in pairs.lengths] == [len(pairs.src(index)), len(pairs.tgt(index))]
    assert pairs.where([0, 29, 32]) == {"a": [1, 30], "b": [3]}
    again = pickle.loads(pickle.dumps(pairs))
    assert again.src(31).tolist() == pairs.src(31).tolist()


def test_an_epoch_has_the_shares_that_were_asked_for(joined: tuple[Tokenizer, JoinedPairs]) -> None:
    _, pairs = joined
    roots = 30**0.5, 3**0.5
    expected = [round(33 * root / sum(roots)) for root in roots]
    assert pairs.counts == expected == [25, 8]
    for epoch in range(4):
        rows = pairs.rows(7, epoch)
        assert [int((rows < 30).sum()), int((rows >= 30).sum())] == expected
        assert np.array_equal(rows, pairs.rows(7, epoch))
    assert len({int(row) for epoch in range(2) for row in pairs.rows(7, epoch)}) == 33


def test_batches_hold_what_the_epoch_has(joined: tuple[Tokenizer, JoinedPairs]) -> None:
    """Each row as often as it is drawn; every source begins with its tag, under BPE-dropout too."""
    tokenizer, pairs = joined
    rows = pairs.rows(0, 0)
    plan = plan_batches(*pairs.lengths, batch_tokens=200, seed=0, epoch=0, rows=rows)
    assert sorted(plan.order.tolist()) == sorted(rows.tolist())
    dropout = (tokenizer, tokenizer) if tokenizer.config.dropout else None
    for batch in BatchDataset(pairs, plan, dropout):
        for index, source in zip(batch.indices.tolist(), batch.src_ids.tolist(), strict=True):
            assert source[0] == (4 if index < 30 else 5)
            assert not {4, 5} & set(source[1:])
            assert tokenizer.decode(source) == pairs.text(index)[0]


def test_the_report_counts_each_corpus(joined: tuple[Tokenizer, JoinedPairs]) -> None:
    _, pairs = joined
    report = pairs.report
    tree = report.as_dict()
    assert (tree["read"], tree["pairs"], tree["dropped"]) == (33, 33, {})
    assert [tree["corpora"][name]["pairs_an_epoch"] for name in "ab"] == [25, 8]
    assert tree["corpora"]["a"]["share_of_pairs"] == pytest.approx(25 / 33, abs=1e-6)
    means = [float(part.store.lengths[1].mean()) + 1 for part in pairs.parts]
    pieces = [round(25 * means[0]), round(8 * means[1])]
    assert tree["corpora"]["b"]["share_of_pieces"] == pytest.approx(pieces[1] / sum(pieces), abs=1e-6)
    assert tree["corpora"]["b"]["text"] == pairs.parts[1].store.report.as_dict()
    assert tree["digest"] == "+".join(part.store.report.digest for part in pairs.parts)
    head, *_ = report.lines()
    assert head.startswith("a, x to y: 25 pairs an epoch, each 0.833 times: 75.8% of all pairs, ")
