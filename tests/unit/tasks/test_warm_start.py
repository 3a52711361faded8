"""Where training starts: another run or a foreign folder, its vocabulary kept; what does not fit is named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clearhead.config import merge
from clearhead.errors import ModelError, UsageError
from clearhead.models.bert import BertConfig
from clearhead.nn.layer import BlockConfig
from clearhead.nn.lora import LoraLinear
from clearhead.runs.recipes import read_recipe
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.language_model.family import LANGUAGE_MODEL
from clearhead.tasks.language_model.job import LanguageModelJob
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.masked.family import MASKED
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.packed import kept
from clearhead.tasks.warm_start import open_start, with_rates
from clearhead.verbs.train import train_run
from tests.foreign import write_bert, write_gpt2, write_llama
from tests.native import NATIVE
from tests.toy import resumed

TREE: dict[str, Any] = {
    "task": "language_model",
    "train": {"max_steps": 6, "batch_tokens": 256, "warmup_steps": 2, "evaluate_every": 3, "device": "cpu"},
}


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    (folder / "train.txt").write_text("He eats an apple, don't you?\n我吃了一个苹果。\n" * 30, encoding="utf-8")
    (folder / "valid.txt").write_text("You eat an apple.\n" * 8, encoding="utf-8")
    return folder


def prepared(text: Path, start: Path, **changes: Any) -> LanguageModelJob:
    return prepare_job(merge(TREE, {"start": str(start), **changes}), "here", text)


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("write", [write_gpt2, write_llama])
def test_a_foreign_model_is_trained_further(write: Any, text: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "theirs")
    job = prepared(text, folder, model={"dropout": 0.2})
    start = open_start(folder, LANGUAGE_MODEL, {"task": "language_model"})
    assert job.taken is not None
    assert (job.taken.new, job.taken.left) == ([], [])
    assert job.recipe.tokenizer.kind == "adopted"
    assert job.model.config.dropout == 0.2
    assert torch.equal(job.model.embedding.tokens.weight, start.tensors["embedding.tokens.weight"])
    assert job.train.begin == start.parts.tokenizer.begin
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    before = job.state.scores["loss"]
    again = resumed(tmp_path / "run", text, max_steps=12)
    train_run(again, tmp_path / "run")
    assert isinstance(again, LanguageModelJob)
    assert again.state.scores["loss"] < before
    model = LanguageModel.load(tmp_path / "run")
    assert model.tokenizer.fingerprint == start.parts.tokenizer.fingerprint
    assert model.generate(["He eats"])[0].ids


def test_lora_on_a_foreign_model(text: Path, tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path)
    job = prepared(text, folder, lora={"rank": 2})
    adapted = [name for name, module in job.model.named_modules() if isinstance(module, LoraLinear)]
    assert len(adapted) == 8
    assert job.taken is not None
    assert all(".lora_" in name for name in job.taken.new)
    plain = prepared(text, folder)
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(job.model.eval()(ids), plain.model.eval()(ids))


@NATIVE
def test_lora_that_is_merged_is_decoded_by_the_engine(text: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    train_run(prepared(text, write_gpt2(tmp_path), lora={"rank": 2}), tmp_path / "run")
    model = LanguageModel.load(tmp_path / "run", device="cpu", engine="native")
    eager = LanguageModel.load(tmp_path / "run", device="cpu", engine="torch")
    assert model.generate(["He eats"])[0].ids == eager.generate(["He eats"])[0].ids
    assert kept(tmp_path / "run", "best", "float32") is not None


@pytest.mark.long
def test_lora_on_a_foreign_bert_trains_products_and_heads_and_is_merged(tmp_path: Path) -> None:
    folder, data = write_bert(tmp_path / "theirs", "BertModel"), tmp_path / "text.txt"
    data.write_text("".join(f"He eats an apple.\nDon't you, {number}?\n\n" for number in range(60)), encoding="utf-8")
    tree = {**TREE, "task": "masked", "data": {"separator": "blank_line"}, "start": str(folder)}
    job = prepare_job(merge(tree, {"lora": {"rank": 2}, "train": {"lr": 1e-2}}), "here", data)
    plain = prepare_job(tree, "here", data)
    ids = torch.tensor([[2, 9, 12, 3]])
    assert torch.equal(job.model.eval().bert(ids), plain.model.eval().bert(ids)), "as the model it starts from"
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    moved = {name for name, tensor in job.model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(".lora_" in name or name.startswith(("mlm_head", "nsp_head", "bert.pooler")) for name in moved)
    assert not moved & {"mlm_head.out_proj.weight", "bert.embedding.tokens.weight"}, "the table is the encoder's"
    assert {name.rpartition(".")[2] for name in moved if name.startswith("bert.layers.")} == {"lora_a", "lora_b"}
    loaded = MaskedModel.load(tmp_path / "run", checkpoint="latest", device="cpu").model
    assert not any(isinstance(module, LoraLinear) for module in loaded.modules())
    torch.testing.assert_close(loaded(ids).mlm, job.model.eval()(ids).mlm, rtol=0, atol=1e-5)
    start = open_start(tmp_path / "run", MASKED, {"task": "masked"})
    assert start.tensors.keys() == dict(plain.model.named_parameters()).keys()
    with pytest.raises(UsageError, match=r"lora.targets = \['x'\]: no linear layer has such a name"):
        prepare_job(merge(tree, {"lora": {"targets": ["x"]}}), "here", data)
    with pytest.raises(UsageError, match=r"lora: adapts a trained model; name it with start \(--from RUN\)"):
        prepare_job(merge(tree, {"lora": {}, "start": "", "model": {"max_seq_len": 64}}), "here", data)


def test_what_it_cannot_start_from(text: Path, toy_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a run of the task language_model is needed, not 'translation'"):
        prepared(text, toy_run)
    with pytest.raises(ModelError, match="no such directory"):
        prepared(text, tmp_path / "absent")
    with pytest.raises(ModelError, match=r"is not a run directory: it has no recipe.toml"):
        prepared(text, text)
    folder = write_gpt2(tmp_path)
    with pytest.raises(ModelError, match="a model of the task rnn_language_model is needed, not 'language_model'"):
        open_start(folder, LANGUAGE_MODEL, {"task": "rnn_language_model"})
    with pytest.raises(UsageError, match=r"train.batch_tokens = 32: must be at least model.max_seq_len = 64"):
        prepared(text, folder, train={"batch_tokens": 32})
    assert prepared(text, folder, train={"batch_tokens": 64}).recipe.model.max_seq_len == 64, "its own counts alone"


def test_a_foreign_bert_is_pretrained_further(tmp_path: Path) -> None:
    """Heads that it lacks are new; rates of dropout are the recipe's, in its layers too."""
    folder, data = write_bert(tmp_path / "theirs", "BertModel"), tmp_path / "text.txt"
    data.write_text("".join(f"He eats an apple.\nDon't you, {number}?\n\n" for number in range(60)), encoding="utf-8")
    rates = {"dropout": 0.0, "block": {"attn_dropout": 0.0}}
    tree = {**TREE, "task": "masked", "data": {"separator": "blank_line"}, "model": rates, "start": str(folder)}
    job = prepare_job(merge(tree, {"train": {"batch_tokens": 600}}), "here", data)
    start = open_start(folder, MASKED, {"task": "masked"})
    assert job.taken is not None
    assert {name.split(".")[0] for name in job.taken.new} == {"mlm_head", "nsp_head"}
    assert (job.model.config.dropout, job.model.config.block.attn_dropout, job.model.config.d_model) == (0.0, 0.0, 32)
    assert torch.equal(job.model.bert.embedding.tokens.weight, start.tensors["bert.embedding.tokens.weight"])
    (tmp_path / "run").mkdir()
    train_run(job, tmp_path / "run")
    before = job.state.scores["loss"]
    again = resumed(tmp_path / "run", data, max_steps=12)
    train_run(again, tmp_path / "run")
    assert again.progress.scores["loss"] < before
    assert MaskedModel.load(tmp_path / "run").tokenizer.fingerprint == start.parts.tokenizer.fingerprint
    with pytest.raises(ModelError, match=r"config\.json: model_type = 'bert': must be 'gpt2' or 'llama'"):
        open_start(folder, LANGUAGE_MODEL, {"task": "language_model"})


def test_shorter_rows_are_the_first_of_the_same_model(text: Path, tmp_path: Path) -> None:
    """What learned positions of the full model say of short texts, the cut ones say too; the rest is as it was."""
    folder = write_gpt2(tmp_path / "gpt2")
    whole, cut = prepared(text, folder), prepared(text, folder, model={"max_seq_len": 16})
    assert (cut.recipe.model.max_seq_len, whole.recipe.model.max_seq_len) == (16, 64)
    assert cut.model.embedding.position is not None
    assert len(cut.model.state_dict()["embedding.position.weight"]) == 16
    assert cut.taken == whole.taken
    ids = torch.randint(4, 60, (2, 16), generator=torch.Generator().manual_seed(0))
    assert torch.equal(cut.model.eval()(ids), whole.model.eval()(ids))
    assert next(cut.batches(0, 0)).ids.shape[1] <= 16
    (tmp_path / "run").mkdir()
    train_run(cut, tmp_path / "run")
    again = open_start(tmp_path / "run", LANGUAGE_MODEL, {"task": "language_model"})
    assert again.config == cut.recipe.model
    assert prepared(text, folder, train={"batch_tokens": 32}, model={"max_seq_len": 32}).recipe.train.batch_tokens == 32
    with pytest.raises(UsageError, match=rf"^model.max_seq_len = 65: start '{folder}' has 64, and its weights fit"):
        prepared(text, folder, model={"max_seq_len": 65})


def test_longer_rows_where_positions_are_computed(text: Path, tmp_path: Path) -> None:
    folder = write_llama(tmp_path / "llama")
    whole = prepared(text, folder)
    length = 2 * whole.recipe.model.max_seq_len
    longer = prepared(text, folder, model={"max_seq_len": length})
    ids = torch.randint(4, 60, (1, length), generator=torch.Generator().manual_seed(0))
    short = ids[:, : length // 2]
    torch.testing.assert_close(longer.model.eval()(ids)[:, : length // 2], whole.model.eval()(short), rtol=0, atol=1e-5)
    with pytest.raises(UsageError, match=r"train.batch_tokens = 256: must be at least model.max_seq_len = 1000"):
        prepared(text, folder, model={"max_seq_len": 1000})


def test_sizes_that_somebody_wrote_are_those_of_the_start_or_refused(text: Path, tmp_path: Path) -> None:
    folder = write_gpt2(tmp_path / "gpt2")
    own = prepared(text, folder).recipe
    same = {"d_model": own.model.d_model, "block": {"norm_eps": own.model.block.norm_eps}}
    assert prepared(text, folder, model=same).recipe == own
    other = {"n_layers": 7, "max_seq_len": 99, "dropout": 0.3, "block": {"activation": "relu", "mlp_dropout": 0.2}}
    with pytest.raises(UsageError) as refused:
        prepared(text, folder, model=other, tokenizer={"vocab_size": 500})
    message = str(refused.value)
    assert message.startswith("model.n_layers = 7, model.max_seq_len = 99, model.block.activation = 'relu', tokenizer.")
    assert f"tokenizer.vocab_size = 500: start '{folder}' has {own.model.n_layers}, 64, 'gelu_tanh', " in message
    assert "dropout" not in message


def test_masked_rows_may_be_shorter(tmp_path: Path) -> None:
    folder, data = write_bert(tmp_path / "theirs", "BertModel"), tmp_path / "text.txt"
    data.write_text("".join(f"He eats an apple.\nDon't you, {number}?\n\n" for number in range(60)), encoding="utf-8")
    tree = {**TREE, "task": "masked", "data": {"separator": "blank_line"}, "start": str(folder)}
    whole, cut = (prepare_job(merge(tree, {"model": size}), "here", data) for size in ({}, {"max_seq_len": 12}))
    assert max(batch.ids.shape[1] for batch in cut.batches(0, 0)) == 12
    ids = torch.tensor([[2, 9, 12, 3]])
    assert torch.equal(cut.model.eval().bert(ids), whole.model.eval().bert(ids))
    with pytest.raises(UsageError, match=r"^model.n_segments = 3: start '.*' has 2, and its weights fit nothing else"):
        prepare_job(merge(tree, {"model": {"n_segments": 3}}), "here", data)


def test_rates_are_kept_at_any_depth() -> None:
    ours = BertConfig(d_model=8, n_heads=2, dropout=0.3, head_dropout=0.2, block=BlockConfig(attn_dropout=0.4))
    found = with_rates(ours, BertConfig(dropout=0.0, block=BlockConfig(mlp_dropout=0.1, activation="silu")))
    expected = replace(ours.block, attn_dropout=0.0, mlp_dropout=0.1)
    assert found == replace(ours, dropout=0.0, head_dropout=None, block=expected)


def test_a_preset_for_longer_texts_takes_those_that_the_start_has_room_for(toy_run: Path, toy_data: Path) -> None:
    """Languages and the longest text are the start's; a length of one's own counts, and is held to its sizes."""
    changes = [f"start={str(toy_run)!r}", "train.device='cpu'"]
    recipe: Any = prepare_job(read_recipe("translate-tiny", changes), "here", toy_data).recipe
    assert (recipe.data.max_len, recipe.model.max_seq_len, recipe.src, recipe.tgt) == (62, 64, "zh", "en")
    shorter: Any = prepare_job(read_recipe("translate-tiny", [*changes, "data.max_len=40"]), "here", toy_data).recipe
    assert shorter.data.max_len == 40
    with pytest.raises(UsageError, match=r"data.max_len = 64: must be below model.max_seq_len = 64"):
        prepare_job(read_recipe("translate-tiny", [*changes, "data.max_len=64"]), "here", toy_data)
