"""What exported models are compared on: lines of the valid split as each family reads them, or random pieces."""

from pathlib import Path

import pytest
import torch

from clearhead.errors import DataError
from clearhead.evaluate.paired import Accuracy, Bleu, Pearson, Perplexity
from clearhead.export.runtime import Row
from clearhead.runs.opened import SavedRun
from clearhead.tasks.catalog import family_of_run
from clearhead.tasks.evidence import DRAWN, Evidence, first_lines, random_ids
from clearhead.tasks.family import LearnedFamily
from clearhead.text.special import NO_TARGET


def evidence_of(run: Path, data: Path | None, count: int) -> Evidence:
    opened = SavedRun.open(run)
    family = family_of_run(opened)
    assert isinstance(family, LearnedFamily)
    evidence: Evidence = family.evidence(family.load(opened, device="cpu"), data, count)
    return evidence


def test_pairs_of_a_translator(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    evidence = evidence_of(toy_run, toy_data, 5)
    sources = (toy_data / "valid.zh").read_text(encoding="utf-8").splitlines()[:5]
    assert evidence.texts == sources
    assert [row.ids for row in evidence.rows] == [[*ids, 2] for ids in evidence.ids]
    assert all(row.target is not None and row.target[0] == 1 for row in evidence.rows)
    assert isinstance(evidence.metric, Bleu)
    assert evidence.metric.references == (toy_data / "valid.en").read_text(encoding="utf-8").splitlines()[:5]
    assert len(evidence.limits) == 5
    assert max(evidence.limits) <= 63
    assert evidence.digest != evidence_of(toy_run, toy_data, 4).digest
    for language, lines in (("zh", ["我 " * 200, sources[0]]), ("en", ["x", "y"])):
        (tmp_path / f"valid.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    short = evidence_of(toy_run, tmp_path, 5)
    assert (short.texts, short.dropped) == ([sources[0]], 1)
    (tmp_path / "valid.en").write_text("x\n" + "long " * 200 + "\n")
    with pytest.raises(DataError, match=r"no line of the valid split fits the model's 64 positions"):
        evidence_of(toy_run, tmp_path, 5)


def test_lines_of_a_language_model(toy_lm_run: Path) -> None:
    data = toy_lm_run.parent / "data"
    evidence = evidence_of(toy_lm_run, data, 3)
    assert evidence.texts == (data / "valid.txt").read_text(encoding="utf-8").splitlines()[:3]
    for row, ids, targets in zip(evidence.rows, evidence.ids, evidence.targets, strict=True):
        assert [*row.ids, targets[-1]] == [2, *ids][:48]
        assert list(targets) == ids[:47]
    assert [prompt.ids for prompt in evidence.prompts] == [row.ids[:6] for row in evidence.rows]
    logits = torch.zeros(len(evidence.rows[0].ids), 400)
    total, count = evidence.judge(0, logits)
    assert count == len(evidence.rows[0].ids)
    assert total / count == pytest.approx(torch.tensor(400.0).log().item(), rel=1e-5)
    assert isinstance(evidence.metric, Perplexity)


def test_every_seventh_piece_of_a_masked_line(toy_masked_run: Path) -> None:
    evidence = evidence_of(toy_masked_run, toy_masked_run.parent / "data", 4)
    assert len(evidence.rows) == 4
    for row, ids, targets in zip(evidence.rows, evidence.ids, evidence.targets, strict=True):
        hidden = [at for at, piece in enumerate(targets) if piece != NO_TARGET]
        assert hidden == list(range(4, len(row.ids) - 1, 7)) or len(ids) < 4
        assert [int(targets[at]) if at in hidden else piece for at, piece in enumerate(row.ids)][1:-1] == ids[:46]
        assert all(row.ids[at] == 6 for at in hidden)
    assert not evidence.prompts


def test_lines_of_a_classifier(toy_pair_classifier: Path) -> None:
    evidence = evidence_of(toy_pair_classifier, toy_pair_classifier.parent / "data", 3)
    lines = (toy_pair_classifier.parent / "data" / "valid.tsv").read_text(encoding="utf-8").splitlines()[:3]
    assert evidence.texts == [text for line in lines for text in line.split("\t")[1:]]
    assert [list(targets) for targets in evidence.targets] == [[line.startswith("good")] for line in lines]
    assert evidence.rows[0].segments is not None
    assert set(evidence.rows[0].segments) == {0, 1}
    assert isinstance(evidence.metric, Accuracy)
    assert evidence.judge(0, torch.tensor([[1.0, 0.0]]))[0] == (not lines[0].startswith("good"))


@pytest.mark.parametrize("task", ["translation", "lm", "masked", "classify"])
def test_random_pieces_are_the_same_at_every_call(
    task: str, toy_run: Path, toy_lm_run: Path, toy_masked_run: Path, toy_classifier: Path
) -> None:
    run = {"translation": toy_run, "lm": toy_lm_run, "masked": toy_masked_run, "classify": toy_classifier}[task]
    first, second = (evidence_of(run, None, 9) for _ in range(2))
    assert first == second
    assert first.drawn
    assert (len(first.rows), first.metric) == (DRAWN, None)
    ids = [piece for row in first.rows for piece in row.ids]
    assert len(set(ids)) > 20


def test_small_things() -> None:
    assert first_lines(iter(["a\n\nb", "c", "d"]), 3) == ["a", "b", "c"]
    assert min(min(row) for row in random_ids(20, 5, 9)) >= 5
    numbers = Evidence([Row([1])], [2], [], metric=Pearson(), targets=[[2.5]], texts=["x"])
    assert numbers.judge(0, torch.tensor([[2.0]])) == (2.5, 2.0)
