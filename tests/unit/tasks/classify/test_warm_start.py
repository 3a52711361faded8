"""Where fine-tuning starts: a pretraining run, a classifier, a foreign folder; what is loaded, new or left is said."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.checkpoint import Checkpoint, load_checkpoint, model_tensors, save_checkpoint
from clearhead.config import as_tree, merge, write_toml
from clearhead.data.labels.labels import Labels
from clearhead.errors import ModelError, UsageError
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.runs.pointers import find_checkpoint, point_to
from clearhead.runs.text_parts import TextParts, load_text_parts
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.classify.job import ClassifyJob
from clearhead.tasks.classify.warm_start import open_encoder
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.train import open_run, train_run
from tests.foreign import write_bert, write_gpt2
from tests.toy import CLASSIFY, labelled_lines, write_labelled, write_recipe

SIZES: dict[str, Any] = {"d_model": 16, "d_ff": 24, "n_heads": 4, "n_layers": 3, "max_seq_len": 20}


TREE = {key: value for key, value in CLASSIFY.items() if key not in ("model", "tokenizer")}


def prepared(data: Path, start: Path, **changes: Any) -> ClassifyJob:
    return prepare_job(merge(TREE, {"start": str(start), **changes}), "here", data)


def masked_run(run: Path, tokenizer: Tokenizer, *, nsp: bool, without: str = "") -> BertPretraining:
    """Writes the run of a pretrained encoder with random weights."""
    config = BertConfig(**SIZES)
    torch.manual_seed(3)
    model = BertPretraining(config, vocab_size=tokenizer.vocab_size, pad_id=tokenizer.ids.pad, nsp=nsp)
    run.mkdir()
    pairs = {"next_sentence": nsp}
    tree = {"task": "masked", "tokenizer": as_tree(tokenizer.config), "model": as_tree(config), "masked": pairs}
    (run / "recipe.toml").write_text(write_toml(tree), encoding="utf-8")
    TextParts(tokenizer).save(run)
    tensors = {name: tensor for name, tensor in model_tensors(model).items() if name != without}
    path = run / "checkpoints" / "step-00000009"
    save_checkpoint(path, Checkpoint({"model": tensors}, {"step": 9}))
    point_to(run, "latest", path)
    return model


@pytest.mark.parametrize("nsp", [True, False])
def test_the_encoder_of_pretraining_comes_whole(
    nsp: bool, toy_classifier: Path, labelled: Path, tmp_path: Path
) -> None:
    model = masked_run(tmp_path / "masked", load_text_parts(toy_classifier).tokenizer, nsp=nsp)
    job = prepared(labelled, tmp_path / "masked", model={"dropout": 0.3, "block": {"attn_dropout": 0.25}})
    own = job.state.model.state_dict()
    for name, tensor in model.bert.state_dict().items():
        assert torch.equal(own[f"bert.{name}"], tensor), name
    assert job.taken is not None
    head, pooler = [{f"{part}.{kind}" for kind in ("weight", "bias")} for part in ("head.out_proj", "bert.pooler.proj")]
    assert set(job.taken.new) == (head if nsp else head | pooler)
    assert {name.split(".")[0] for name in job.taken.left} == ({"mlm_head", "nsp_head"} if nsp else {"mlm_head"})
    assert "tensors loaded; 2 new: head.out_proj" in job.vocabulary() or not nsp
    assert (job.recipe.model.d_ff, job.recipe.model.n_layers, job.recipe.model.max_seq_len) == (24, 3, 20)
    assert (job.recipe.model.dropout, job.recipe.model.block.attn_dropout) == (0.3, 0.25), "rates are the recipe's"


def test_an_encoder_that_is_not_whole_is_refused(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    missing = "bert.layers.1.mlp.up_proj.bias"
    masked_run(tmp_path / "masked", load_text_parts(toy_classifier).tokenizer, nsp=True, without=missing)
    with pytest.raises(ModelError, match=rf"checkpoint '.*step-00000009': tensor '{missing}' is missing"):
        prepared(labelled, tmp_path / "masked")


def test_a_classifier_gives_its_output_layer_for_the_same_labels_alone(
    toy_classifier: Path, labelled: Path, tmp_path: Path
) -> None:
    best = find_checkpoint(toy_classifier)
    assert best is not None
    source = load_checkpoint(best).tensors["model"]
    job = prepared(labelled, toy_classifier)
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    assert all(torch.equal(tensor, source[name]) for name, tensor in job.state.model.state_dict().items())
    lines = [line.replace("good", "yes", 1) for line in labelled_lines(20)]
    other = prepared(write_labelled(tmp_path / "data", lines, lines[:4]), toy_classifier)
    assert other.taken is not None
    assert other.taken.new == other.taken.left == ["head.out_proj.bias", "head.out_proj.weight"]
    assert open_encoder(toy_classifier).parts.labels == Labels(("bad", "good"), False)


def test_fresh_takes_sizes_and_vocabulary_alone(toy_classifier: Path, labelled: Path) -> None:
    job = prepared(labelled, toy_classifier, finetune={"fresh": True, "frozen": True})
    tuned = prepared(labelled, toy_classifier)
    assert job.taken is None
    assert job.recipe.model == tuned.recipe.model
    assert job.parts.tokenizer.fingerprint == tuned.parts.tokenizer.fingerprint
    own, theirs = (one.state.model.state_dict()["bert.layers.0.mlp.up_proj.weight"] for one in (job, tuned))
    assert not torch.equal(own, theirs)
    assert all(parameter.requires_grad for parameter in job.state.model.parameters()), "all of it learns"


@pytest.mark.long
def test_rows_may_be_shorter_and_other_sizes_are_refused(toy_classifier: Path, labelled: Path) -> None:
    whole, cut = prepared(labelled, toy_classifier), prepared(labelled, toy_classifier, model={"max_seq_len": 9})
    assert max(batch.ids.shape[1] for batch in cut.batches(0, 0)) == 9
    assert cut.train.report.truncated > whole.train.report.truncated == 0
    assert cut.taken == whole.taken
    ids = torch.tensor([[4, 8, 9, 5]])
    assert torch.equal(cut.state.model.eval()(ids), whole.state.model.eval()(ids))
    for table, key, value, own in (
        ("model", "max_seq_len", 25, "24"),
        ("model", "d_model", 32, "16"),
        ("tokenizer", "lowercase", True, "False"),
        ("tokenizer", "vocab_size", 300, "200"),
    ):
        for fresh in (False, True):
            with pytest.raises(UsageError, match=rf"^{table}.{key} = {value}: start '.*' has {own}, and its weights"):
                prepared(labelled, toy_classifier, finetune={"fresh": fresh}, **{table: {key: value}})


@pytest.mark.long
def test_sizes_of_a_preset_are_not_what_somebody_wrote(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    start, short = f"start={str(toy_classifier)!r}", "model.max_seq_len=9"
    more = ["train.max_steps=1", "finetune.epochs=0", "train.warmup_steps=0", "train.device=cpu"]
    with open_run("classify", labelled, tmp_path / "run", overrides=[start, short, *more]) as begun:
        assert (begun.job.recipe.model.d_model, begun.job.recipe.model.max_seq_len) == (16, 9)
        train_run(begun.job, begun.path)
    for changes in ([start, short, *more], [start, *more], more):
        with open_run("classify", labelled, tmp_path / "run", overrides=changes, resume=True) as again:
            assert again.notes == ()
            assert again.job.recipe == begun.job.recipe
    (tmp_path / "killed").mkdir()  # before its first checkpoint
    shutil.copy(tmp_path / "run" / "recipe.toml", tmp_path / "killed")
    with open_run("classify", labelled, tmp_path / "killed", overrides=[short, *more], resume=True) as again:
        assert again.job.recipe == begun.job.recipe
        assert isinstance(again.job, ClassifyJob)
        assert again.job.taken is not None
    for given in ("model.max_seq_len=8", "model.d_model=32"):
        with (
            pytest.raises(UsageError, match=rf"--resume: {given.partition('=')[0]} differs from the run's recipe"),
            open_run("classify", labelled, tmp_path / "run", overrides=[*more, given], resume=True),
        ):
            pass
    for other in ("model.d_model=32", "model.n_layers=4"):
        with (
            pytest.raises(UsageError, match=f"^{other.replace('=', ' = ')}: start '.*' has "),
            open_run("classify", labelled, tmp_path / "other", overrides=[start, *more, other]),
        ):
            pass
    mine = write_recipe(tmp_path / "mine.toml", CLASSIFY | {"start": str(toy_classifier), "model": {"d_ff": 64}})
    with (
        pytest.raises(UsageError, match=r"^model.d_ff = 64: start '.*' has 32, "),
        open_run(mine, labelled, tmp_path / "x"),
    ):
        pass


@pytest.mark.long
def test_a_classifier_gives_its_pooling_too(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "mean").mkdir()
    train_run(prepare_job(merge(CLASSIFY, {"finetune": {"pooling": "mean"}}), "here", labelled), tmp_path / "mean")
    assert prepared(labelled, tmp_path / "mean").recipe.finetune.pooling == "mean"
    other = prepared(labelled, tmp_path / "mean", finetune={"pooling": "first"})
    assert other.recipe.finetune.pooling == "first", "somebody wrote it"


@pytest.mark.long
def test_a_classifier_gives_its_ngrams_where_the_labels_are_the_same(labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with_table = merge(CLASSIFY, {"finetune": {"ngrams": 2, "ngram_rows": 64}})
    train_run(prepare_job(with_table, "here", labelled), tmp_path / "run")
    start = open_encoder(tmp_path / "run")
    assert start.tensors["ngrams.table.weight"].any()
    again = prepared(labelled, tmp_path / "run")
    assert (again.recipe.finetune.ngrams, again.recipe.finetune.ngram_rows) == (2, 64)
    assert torch.equal(again.state.model.ngrams.table.weight, start.tensors["ngrams.table.weight"])
    (tmp_path / "other").mkdir()
    other = write_labelled(tmp_path / "other", *[[line.replace("good", "fine") for line in labelled_lines(20)]] * 2)
    afresh = prepared(other, tmp_path / "run")
    assert not afresh.state.model.ngrams.table.weight.any()
    assert afresh.taken is not None
    assert "ngrams.table.weight" in afresh.taken.left
    none = prepared(labelled, tmp_path / "run", finetune={"ngrams": 0})
    assert none.state.model.ngrams is None
    wider = prepared(labelled, tmp_path / "run", finetune={"ngram_rows": 128})
    assert wider.state.model.ngrams.table.weight.shape[0] == 128
    assert not wider.state.model.ngrams.table.weight.any()
    assert wider.taken is not None
    assert "ngrams.table.weight" in wider.taken.left
    assert torch.equal(wider.state.model.head.out_proj.weight, start.tensors["head.out_proj.weight"])


def test_a_folder_of_hugging_face(labelled: Path, tmp_path: Path) -> None:
    from transformers import BertModel

    folder = write_bert(tmp_path / "bert")
    for named in (True, False):  # the first files named no special pieces
        if not named:
            for name in ("tokenizer_config.json", "special_tokens_map.json"):
                (folder / name).unlink(missing_ok=True)
        job = prepared(labelled, folder)
        assert job.taken is not None
        assert job.taken.new == ["head.out_proj.bias", "head.out_proj.weight"]
        assert {name.split(".")[0] for name in job.taken.left} == {"cls"}
        ids = torch.tensor([[2, 9, 12, 3]])
        theirs = BertModel.from_pretrained(folder).eval()(ids)
        model = job.state.model.eval().bert
        torch.testing.assert_close(model(ids), theirs.last_hidden_state, rtol=0, atol=1e-5)
        torch.testing.assert_close(model.pooler(model(ids)), theirs.pooler_output, rtol=0, atol=1e-5)
        batch = next(job.work().batches(0, 0))
        assert job.parts.tokenizer.pieces(batch.ids[0, :1].tolist()) == ["[CLS]"]


def test_a_classifier_of_hugging_face_gives_its_output_layer_for_the_same_labels(
    labelled: Path, tmp_path: Path
) -> None:
    names = {"id2label": {0: "bad", 1: "good"}, "label2id": {"bad": 0, "good": 1}}
    folder = write_bert(tmp_path / "same", "BertForSequenceClassification", **names)
    taken = prepared(labelled, folder).taken
    assert taken is not None
    assert (taken.new, taken.left) == ([], [])
    other = prepared(labelled, write_bert(tmp_path / "other", "BertForSequenceClassification")).taken
    assert other is not None
    assert other.new == other.left == ["head.out_proj.bias", "head.out_proj.weight"]


def test_what_holds_no_encoder(toy_run: Path, labelled: Path, tmp_path: Path) -> None:
    for start, expected in (
        (toy_run, "a run of the task masked or classify is needed, not 'translation'"),
        (tmp_path / "nowhere", "run '.*nowhere': no such directory"),
        (labelled, "is not a run directory: it has no recipe.toml"),
        (write_gpt2(tmp_path / "gpt2"), "config.json: model_type = 'gpt2': must be 'bert'"),
    ):
        with pytest.raises(ModelError, match=expected):
            prepared(labelled, start)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "recipe.toml").write_text('task = "masked"\n')
    with pytest.raises(ModelError, match="has no checkpoint yet"):
        prepared(labelled, tmp_path / "new")
