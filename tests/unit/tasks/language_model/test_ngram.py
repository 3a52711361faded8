"""An n-gram run: what a document sees of another, and runs that cannot be loaded."""

from pathlib import Path

import numpy as np
import pytest

from clearhead.config import Tree, merge
from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.models.ngram import Ngram
from clearhead.tasks.language_model.ngram import NgramLanguageModel, ngram_sizes, parse_ngram
from clearhead.tasks.language_model.ngram_job import prepare_ngram
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.scoring import read_split
from clearhead.verbs.train import train_run

TREE: Tree = {
    "task": "ngram",
    "tokenizer": {"kind": "char", "vocab_size": 50, "min_frequency": 1},
    "data": {"separator": "line", "valid_fraction": 0.3},
    "model": {"order": 3},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_text("the cat sat\nthe dog sat\na cat ran\n" * 8, encoding="utf-8")
    return path


@pytest.mark.parametrize("packing", ["cross", "isolated"])
def test_documents_see_each_other_where_the_recipe_says_so(packing: str, text: Path, tmp_path: Path) -> None:
    job = prepare_ngram(merge(TREE, {"data": {"packing": packing}}), "here", text)
    train_run(job, tmp_path)
    model = NgramLanguageModel.load(tmp_path)
    sizes = {"vocab_size": model.tokenizer.vocab_size}
    cross = Ngram.train(job.train.ids, job.recipe.model, **sizes)
    isolated = Ngram.train(job.train.ids, job.recipe.model, starts=job.train.starts, **sizes)
    assert job.parameters == (cross if packing == "cross" else isolated).size
    assert cross.size > isolated.size
    ids, total = job.valid.ids.tolist(), 0.0
    for place, piece in enumerate(ids):
        begin = 0 if packing == "cross" else max(start for start in job.valid.starts.tolist() if start <= place)
        total -= np.log(model.model.next_probs(ids[begin:place])[piece])
    assert model.total_loss(job.valid) == pytest.approx(total)
    assert job.progress.scores["loss"] == pytest.approx(total / len(ids))


@pytest.mark.parametrize("packing", ["cross", "isolated"])
def test_what_it_writes_has_the_loss_of_that_text(packing: str, text: Path, tmp_path: Path) -> None:
    """Isolated, a text begins from nothing and is a document of a split; across, the end mark before it is seen."""
    train_run(prepare_ngram(merge(TREE, {"data": {"packing": packing}}), "here", text), tmp_path)
    model = NgramLanguageModel.load(tmp_path)
    config, sampling = GenerationConfig(max_new=500, min_length=3, n=5), SamplingConfig(seed=2)
    written = model.generate([""], config, sampling=sampling)
    assert {one.reason for one in written} == {"end"}
    total = sum(sum(one.log_probs) for one in written)
    if packing == "isolated":
        data = tmp_path / "written"
        data.mkdir()
        (data / "test.txt").write_text("".join(f"{one.text}\n" for one in written), encoding="utf-8")
        stream = read_split(model, data, "test")
        assert stream.ids.tolist() == [piece for one in written for piece in one.ids]
        assert -model.total_loss(stream) == pytest.approx(total, rel=1e-5)
    else:
        parts = [model.model.log_probs(np.array([2, *one.ids]))[1:] for one in written]
        assert np.concatenate(parts).sum() == pytest.approx(total, rel=1e-5)
    begin = model.model.next_probs([] if packing == "isolated" else [2])
    for one in written:
        assert one.log_probs[0] == pytest.approx(np.log(begin[one.ids[0]]), abs=1e-5)
        assert model.log_probs(one.text) == pytest.approx(one.log_probs[:-1], abs=1e-5)
    assert model.log_probs("") == []


def test_its_size_in_words() -> None:
    assert ngram_sizes(parse_ngram(TREE, "here").model) == "n-grams of up to 3 pieces, kneser_ney"


def test_pieces_are_not_drawn() -> None:
    with pytest.raises(UsageError, match=r"^here: tokenizer.dropout = 0.1: text is encoded once"):
        parse_ngram(merge(TREE, {"tokenizer": {"kind": "bpe", "dropout": 0.1}}), "here")


def test_what_cannot_be_loaded(toy_run: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is for the task translation, not ngram: use clearhead translate"):
        NgramLanguageModel.load(toy_run)
    prepare_ngram(TREE, "here", text).save(tmp_path)
    with pytest.raises(ModelError, match=r"ngram.npz' is missing or damaged"):
        NgramLanguageModel.load(tmp_path)
