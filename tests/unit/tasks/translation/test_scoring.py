"""Scores of a translator on a split: what is counted, over which pairs."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import sacrebleu
import torch

from clearhead.config import Tree, merge
from clearhead.data.translation import collate
from clearhead.evaluate.translation import score_translations
from clearhead.tasks.catalog import prepare_job
from clearhead.tasks.translation.job import TranslationJob
from clearhead.tasks.translation.recipe import parse_translation
from clearhead.tasks.translation.scoring import evaluate_translator
from clearhead.tasks.translation.translator import Translation, Translator
from clearhead.verbs.load import load
from tests.toy import RECIPE, write_split


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return load(toy_run)


def test_every_line_is_scored_but_the_loss_is_over_what_training_would_keep(
    translator: Translator, toy_data: Path, tmp_path: Path
) -> None:
    sides = [(toy_data / f"train.{name}").read_text(encoding="utf-8").splitlines() for name in ("zh", "en")]
    pairs = list(zip(*sides, strict=True))[:6]
    given = [*pairs, pairs[0], ("我" * 100, "I"), ("", "")]
    write_split(tmp_path, "odd", given)
    found = evaluate_translator(translator, tmp_path, "odd", beam=2)
    assert (found.split, found.sentences, found.loss_pairs) == ("odd", 9, 7)
    assert found.translations == [one.text for one in translator.translate([src for src, _ in given], beam=2)]
    expected = score_translations(found.translations, [tgt for _, tgt in given])
    assert found.scores == expected
    assert found.tokens_per_second > 0


def test_the_loss_is_the_mean_over_target_pieces(translator: Translator, toy_data: Path) -> None:
    found = evaluate_translator(translator, toy_data, "test", beam=1)
    total, count = 0.0, 0
    files = [(toy_data / f"test.{name}").read_text(encoding="utf-8").splitlines() for name in ("zh", "en")]
    for src, tgt in zip(*files, strict=True):
        batch = collate([translator.tokenizers.src.encode(src)], [translator.tokenizers.tgt.encode(tgt)])
        with torch.inference_mode():
            log_probs = translator.model(batch.src_ids, batch.tgt_ids)[0].log_softmax(-1)
        total -= float(log_probs.gather(1, batch.targets[0, :, None]).sum())
        count += batch.target_count
    assert found.loss == pytest.approx(total / count, rel=1e-5)
    assert math.isfinite(found.loss)


@pytest.mark.long
def test_bleu_while_training_is_that_of_greedy_translations(translator: Translator, toy_data: Path) -> None:
    tree = {**RECIPE, "validation": {"monitor": "bleu", "max_sentences": 5}}
    job = prepare_job(tree, "here", toy_data)
    sides = [(toy_data / f"valid.{name}").read_text(encoding="utf-8").splitlines()[:5] for name in ("zh", "en")]
    texts = [one.text for one in translator.translate(sides[0], beam=1)]
    with torch.inference_mode():
        found = job.work().evaluate(translator.model)
    assert found["bleu"] == score_translations(texts, sides[1]).bleu


SOURCES = ["Two  DOGS ran.", "ＡＢＣ １２３", "Don’t stop, Anna!", "word " * 90, "", "Two  DOGS ran.", "Σίσυφος № 5"]
TARGETS = {
    "eng_Latn": [
        "Zwei Hunde, JA.",
        "ABC １２３ ｘ",
        "Don't stop now!",
        "word " * 90,
        "Not nothing.",
        "Ja ja .",
        "No 5",
    ],
    "zho_Hans": ["两只狗跑了。", "ＡＢＣ，１２３", "安娜，别停！", "词" * 90, "不是空的。", "狗跑了。", "第五号。"],
    "jpn": [
        "犬が二匹走った。",
        "ＡＢＣ、１２３",
        "アンナ、止まるな！",
        "語" * 90,
        "空ではない。",
        "犬が走った。",
        "第五号。",
    ],
    "khm_Khmr": ["ឆ្កែពីរក្បាលរត់។", "ABC ១២៣", "អាណា កុំឈប់!", "ពាក្យ" * 30, "មិនទទេ។", "ឆ្កែរត់។", "លេខ ៥"],
}
EXPECTED_TOKENIZE = {"eng_Latn": "13a", "zho_Hans": "zh", "jpn": "char", "khm_Khmr": "char"}


@pytest.mark.parametrize(
    ("target", "kind", "normalization", "lowercase", "overlong"),
    [
        ("eng_Latn", "byte_bpe", "none", True, "drop"),
        ("zho_Hans", "bpe", "nfkc", False, "truncate"),
        ("jpn", "char", "halfwidth", True, "drop"),
        ("khm_Khmr", "unigram", "nfc", False, "truncate"),
        ("zho_Hans", "wordpiece", "halfwidth", True, "drop"),
        ("eng_Latn", "wordpiece", "nfkc", True, "truncate"),
    ],
)
def test_training_scores_a_checkpoint_as_evaluate_does(
    target: str,
    kind: str,
    normalization: str,
    lowercase: bool,
    overlong: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever a tokenizer makes of a text: sources and references are the lines of the files, all of them."""
    for stem in ("train", "valid"):
        for code, lines in (("xx", SOURCES), (target, TARGETS[target])):
            (tmp_path / f"{stem}.{code}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    # a translation is the reference without its first letter, found by the line as it is in the file
    answers = {source: reference[1:] for source, reference in zip(SOURCES, TARGETS[target], strict=True)}
    seen: list[str] = []

    def answer(self: Translator, texts: Sequence[str], *rest: object, **options: object) -> list[list[Translation]]:
        seen.extend(texts)
        return [[Translation(answers[text], 0.0, 0.0, [], [0.0], [])] for text in texts]

    monkeypatch.setattr(Translator, "n_best", answer)
    pieces = {"kind": kind, "normalization": normalization, "lowercase": lowercase, "vocab_size": 300}
    tree = merge(RECIPE, {"src": "xx", "tgt": target, "tokenizer": pieces, "validation": {"monitor": "bleu"}})
    tree = merge(tree, {"data": {"overlong": overlong, "max_ratio": 1.5, "max_len": 40}})
    job = prepare_job(tree, "here", tmp_path)
    assert isinstance(job, TranslationJob)
    with torch.inference_mode():
        trained = job.evaluate(job.model.eval())
    translator = Translator(job.recipe, job.parts.both, job.model, job.device)
    later = evaluate_translator(translator, tmp_path, "valid", beam=1)
    assert seen == SOURCES * 2
    expected = sacrebleu.corpus_bleu(
        [answers[source] for source in SOURCES], [TARGETS[target]], tokenize=EXPECTED_TOKENIZE[target]
    )
    assert trained["bleu"] == later.scores.bleu == expected.score > 10
    assert trained["loss"] == pytest.approx(later.loss, rel=1e-6)
    assert later.loss_pairs == 6 - (overlong == "drop")


def test_the_recipe_may_choose_the_tokenizer_of_bleu() -> None:
    for chosen, expected in (("auto", "zh"), ("none", "none"), ("intl", "intl")):
        tree: Tree = {**RECIPE, "tgt": "zho_Hans", "validation": {"tokenize": chosen}}
        assert parse_translation(tree, "here").bleu_of(tree["tgt"]) == expected


def test_lines_are_scored_where_none_fits_the_loss(translator: Translator, tmp_path: Path) -> None:
    lines = [("我" * 100 + "。", "I"), ("", "nothing")]
    write_split(tmp_path, "long", lines)
    found = evaluate_translator(translator, tmp_path, "long", beam=1)
    assert (found.sentences, found.loss, found.loss_pairs, len(found.translations)) == (2, None, 0, 2)
    assert found.scores == score_translations(found.translations, [tgt for _, tgt in lines])
    assert "loss        -   no pair of lines fits the model" in found.lines(1)
    assert json.loads(json.dumps(found.as_dict()))["loss"] is None
