"""Runs side by side: the scores of ``evaluate``, by length too, sizes and speeds; what does not go together."""

import shutil
from pathlib import Path

import pytest

from clearhead.config import merge, read_toml, write_toml
from clearhead.errors import UsageError
from clearhead.evaluate.translation import score_translations
from clearhead.evaluate.word_frequency import GROUPS
from clearhead.tasks.language_model.ngram_job import prepare_ngram
from clearhead.tasks.language_model.scoring import evaluate_language_model
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.scoring import evaluate_masked
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translator
from clearhead.text.language import BleuTokenize
from clearhead.verbs.compare import compare_runs
from clearhead.verbs.load import load_language_model
from clearhead.verbs.train import train_run
from tests.toy import HELD_OUT, demo_lines, write_corpus


def test_translators(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(toy_run, tmp_path / "copy")
    (copied / "metrics.jsonl").unlink()
    found = compare_runs([toy_run, copied], toy_data, "test", beam=2, device="cpu")
    one, other = found.runs
    assert one.scores == other.scores
    assert one.model.startswith("encoder-decoder Transformer, 1 + 2 layers")
    assert (other.train_tokens_per_second, found.split) == (None, "test")
    assert one.train_tokens_per_second
    assert one.decode_tokens_per_second
    translator = Translator.load(toy_run, device="cpu")
    assert one.parameters == sum(parameter.numel() for parameter in translator.model.parameters())
    expected = evaluate_translator(translator, toy_data, "test", beam=2)
    assert (one.scores["BLEU"], one.scores["chrF2"]) == (expected.scores.bleu, expected.scores.chrf)
    sources, references = ((toy_data / f"test.{side}").read_text().splitlines() for side in ("zh", "en"))
    longest = sorted(range(HELD_OUT), key=lambda row: len(sources[row]))[-(HELD_OUT // 3) :]
    bleu = score_translations([expected.translations[row] for row in longest], [references[row] for row in longest])
    assert one.scores["BLEU, long"] == pytest.approx(bleu.bleu)
    assert list(one.scores)[:5] == ["BLEU", "chrF2", "BLEU, short", "BLEU, middle", "BLEU, long"]
    assert [name.partition(", trained ")[2] for name in list(one.scores)[5:]] == list(GROUPS)
    assert one.against_first == {}
    assert [found.difference for found in other.against_first.values()] == [0.0, 0.0]
    assert list(other.against_first) == ["BLEU", "chrF2"]


def test_translators_are_scored_with_one_tokenizer(toy_run: Path, toy_data: Path, tmp_path: Path) -> None:
    other = shutil.copytree(toy_run, tmp_path / "other")
    tree = read_toml(other / "recipe.toml")
    (other / "recipe.toml").write_text(write_toml(merge(tree, {"validation": {"tokenize": "char"}})), encoding="utf-8")
    with pytest.raises(
        UsageError, match=r"is scored with BLEU's tokenizer 13a, run '.*' with BLEU's tokenizer char: c"
    ):
        compare_runs([toy_run, other], toy_data, "test", beam=1, device="cpu")
    translator = Translator.load(toy_run, device="cpu")
    choices: tuple[BleuTokenize, ...] = ("none", "char")
    for choice in choices:
        found = compare_runs([toy_run, other], toy_data, "test", beam=1, tokenize=choice, device="cpu")
        expected = evaluate_translator(translator, toy_data, "test", beam=1, tokenize=choice).scores
        assert [run.scores["BLEU"] for run in found.runs] == [expected.bleu, expected.bleu]
        assert f"tok:{choice}" in expected.bleu_signature
        assert found.note.endswith(f"; BLEU's tokenizer {choice}")


def test_a_split_of_two_lines_has_no_long_third(toy_run: Path, tmp_path: Path) -> None:
    data = write_corpus(tmp_path / "two", demo_lines(6), held_out=2)
    (one,) = compare_runs([toy_run], data, "test", beam=1, device="cpu").runs
    assert one.scores["BLEU, long"] is None
    for path in data.glob("train.*"):
        path.unlink()
    (bare,) = compare_runs([toy_run], data, "test", beam=1, device="cpu").runs
    assert {score for name, score in bare.scores.items() if "trained" in name} == {None}
    assert bare.scores["BLEU"] == one.scores["BLEU"]


def test_language_models(toy_lm_run: Path, toy_baselines: dict[str, Path], tmp_path: Path) -> None:
    data = toy_lm_run.parent / "data"
    job = prepare_ngram(
        {"task": "ngram", "tokenizer": {"vocab_size": 400}, "data": {"separator": "line"}}, "here", data
    )
    train_run(job, tmp_path)
    runs = [toy_lm_run, tmp_path, toy_baselines["rnn_language_model"]]
    gpt, ngram, rnn = compare_runs(runs, data, "valid", device="cpu").runs
    assert (ngram.parameters, ngram.model) == (job.parameters, "n-grams of up to 5 pieces, kneser_ney")
    assert ngram.train_tokens_per_second
    for compared in (gpt, ngram, rnn):
        assert compared.decode_tokens_per_second
        assert compared.decode_tokens_per_second > 10
    for run, compared in ((toy_lm_run, gpt), (tmp_path, ngram)):
        scores = evaluate_language_model(load_language_model(run, device="cpu"), data, "valid").scores
        assert compared.scores["bits a byte"] == pytest.approx(scores.bits_per_byte)
        assert compared.scores["word perplexity"] == pytest.approx(scores.word_perplexity)
    names = ["loss, piece 1 to 4", "loss, piece 5 to 16", "loss, piece 17 to 64"]
    assert list(gpt.scores)[3:] == list(ngram.scores)[3:] == names
    assert all(gpt.scores[name] is not None for name in names)


def test_what_does_not_go_together(toy_run: Path, toy_lm_run: Path, toy_data: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"is for translation from zh to en, run '.*' for language modelling: there is"
    ):
        compare_runs([toy_run, toy_lm_run], toy_data, "test")
    turned = shutil.copytree(toy_run, tmp_path / "turned")
    tree = read_toml(turned / "recipe.toml")
    (turned / "recipe.toml").write_text(write_toml({**tree, "src": "en", "tgt": "zh"}), encoding="utf-8")
    with pytest.raises(UsageError, match="for translation from en to zh: there is nothing to compare them by"):
        compare_runs([toy_run, turned], toy_data, "test")


def test_masked_language_models(toy_masked_run: Path, toy_lm_run: Path) -> None:
    data = toy_masked_run.parent / "data"
    (one,) = compare_runs([toy_masked_run], data, "valid", device="cpu").runs
    model = MaskedModel.load(toy_masked_run, device="cpu")
    found = evaluate_masked(model, data, "valid").scores
    assert one.scores == {
        "MLM loss": found.loss,
        "pseudo-perplexity": found.pseudo_perplexity,
        "MLM accuracy": found.mlm_accuracy,
        "NSP accuracy": found.nsp_accuracy,
    }
    assert one.model == "encoder-only Transformer, 2 layers, d_model 64, rows of 48"
    assert one.parameters == sum(parameter.numel() for parameter in model.model.parameters())
    assert one.train_tokens_per_second
    assert one.decode_tokens_per_second is None
    with pytest.raises(UsageError, match=r"is for masked language modelling, .* for language modelling"):
        compare_runs([toy_masked_run, toy_lm_run], data, "valid")


def test_classifiers(toy_classifier: Path, labelled: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(toy_classifier, tmp_path / "changed")
    tree = read_toml(changed / "recipe.toml")
    (changed / "recipe.toml").write_text(write_toml(merge(tree, {"finetune": {"pooling": "mean"}})), encoding="utf-8")
    one, same, other = compare_runs([toy_classifier, toy_classifier, changed], labelled, "valid", device="cpu").runs
    assert one.against_first == {}
    assert {found.difference for found in same.against_first.values()} == {0.0}
    assert list(other.against_first) == list(other.scores) == ["loss", "accuracy", "macro_f1", "matthews"]
    for name, found in other.against_first.items():
        assert found.difference == pytest.approx((other.scores[name] or 0) - (one.scores[name] or 0))
        assert found.interval[0] <= found.difference <= found.interval[1]
