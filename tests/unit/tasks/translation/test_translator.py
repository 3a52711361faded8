"""A translator's promises: order, batch mates that change nothing, scores of the model, alignment, splitting."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearhead.config import merge
from clearhead.data.translation import collate
from clearhead.decode.hypotheses import SearchConfig
from clearhead.errors import DataError, ModelError
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.translation.length_limit import LengthLimit
from clearhead.tasks.translation.recipe import build_translator, parse_translation
from clearhead.tasks.translation.result import EMPTY
from clearhead.tasks.translation.search import batches, native, search_rules
from clearhead.tasks.translation.translator import Translator
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from tests.toy import RECIPE


@pytest.fixture(scope="module")
def translator(toy_run: Path) -> Translator:
    return Translator.load(toy_run)


@pytest.fixture(scope="module")
def lines(toy_data: Path) -> list[str]:
    return (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:6]


@pytest.mark.long
def test_a_text_gives_the_same_whatever_stands_beside_it(
    translator: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [lines[0], "", *lines[1:4], "我", lines[0], lines[4] + lines[5]]
    together = translator.translate(given, beam=3)
    monkeypatch.setattr(batches, "BATCH_TOKENS", 1)  # every sentence in a batch of its own
    for text, one, alone in zip(given, together, translator.translate(given, beam=3), strict=True):
        assert (one.text, one.pieces) == (alone.text, alone.pieces), text
        assert one.score == pytest.approx(alone.score, abs=1e-4)
    assert together[0] == together[6]
    assert together[1] == EMPTY
    assert translator.translate([]) == []


def test_scores_are_those_of_the_model_in_training(translator: Translator, lines: list[str]) -> None:
    """Sums of the piece scores, and what the eager model says with all targets given."""
    for ranked in translator.n_best(lines[:3], SearchConfig(4, 3), prefix="The"):
        for one in ranked:
            assert one.score == pytest.approx(math.fsum(one.log_probs), abs=1e-5)
            targets = one.target_ids[:-1] if one.complete else one.target_ids
            batch = collate([one.source_ids], [targets])
            with torch.inference_mode():
                log_probs = translator.model(batch.src_ids, batch.tgt_ids)[0].log_softmax(-1)
            expected = log_probs.gather(1, batch.targets[0, :, None])[: len(one.log_probs), 0].tolist()
            assert one.log_probs == pytest.approx(expected, abs=2e-5)
            assert one.pieces == translator.tokenizers.tgt.pieces(one.target_ids)
            assert one.text.startswith("The")


def test_packed_and_plain_decoding_say_the_same(translator: Translator, lines: list[str]) -> None:
    plain = replace(translator, weights=None)
    for beam in (1, 5):
        found = [[one.pieces for one in each.translate(lines, beam=beam)] for each in (translator, plain)]
        assert found[0] == found[1]


def test_the_limit_ends_what_does_not_end(
    translator: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "_limit", lambda self, source, fixed, most=0: 2)
    for beam in (1, 3):
        (one,) = translator.translate(lines[:1], beam=beam)
        assert (one.complete, len(one.pieces), len(one.log_probs)) == (False, 2, 2)
        assert "</s>" not in one.pieces


def test_alignment_points_to_source_pieces(translator: Translator, lines: list[str]) -> None:
    plain, aligned = (translator.translate(lines[:2], alignment=wanted) for wanted in (False, True))
    assert [one.alignment for one in plain] == [None, None]
    for one in aligned:
        assert one.alignment is not None
        assert len(one.alignment) == len(one.pieces)
        assert set(one.alignment) <= set(range(len(one.source_pieces)))
        assert len(set(one.alignment)) > 1
    assert translator.aligned(translator.translate([""])[0]).alignment is None


def no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end mark never comes."""
    for module in (native, search_rules):
        monkeypatch.setattr(module, "never", lambda ids: [0, 1, 2, 3])


def test_a_translation_at_the_models_length_is_aligned(
    translator: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Translator, "_limit", lambda self, source, fixed, most=0: self.recipe.model.max_seq_len)
    no_end(monkeypatch)
    (one,) = translator.translate(lines[:1], beam=1, alignment=True)
    assert not one.complete
    assert len(one.pieces) == len(one.alignment or []) == 64


def test_alternatives_are_the_most_probable_first_pieces(translator: Translator, lines: list[str]) -> None:
    for prefix in ("", "The"):
        found = translator.alternatives(lines[0], 4, prefix=prefix)
        start = translator.tokenizers.tgt.encode(prefix)
        batch = collate([translator.tokenizers.src.encode(lines[0])], [start])
        with torch.inference_mode():
            logits = translator.model(batch.src_ids, batch.tgt_ids)[0, -1]
        logits = logits.clone()
        logits[[0, 1, 3]] = float("-inf")
        best = [piece for piece in logits.topk(4).indices.tolist() if piece != 2]
        assert {one.target_ids[len(start)] for one in found} == set(best)
        assert all(one.target_ids[: len(start)] == start for one in found)
    whole = translator.translate(lines[:1])[0].text
    count = len(translator.tokenizers.tgt.encode(whole))
    found = translator.alternatives(lines[0], 3, prefix=whole)
    assert len(found) == 2, "the end mark, most probable here, is no piece to go on with"
    assert all(one.target_ids[count] != 2 for one in found)
    assert translator.alternatives(" ") == []


def test_a_long_text_is_split_at_sentence_ends(translator: Translator, lines: list[str]) -> None:
    sentences = [line.rstrip("。？") + "。" for line in lines]
    long = "".join(sentences) * 2
    (one,) = translator.translate([long])
    alone = [part.text for part in translator.translate(sentences)]
    assert (one.parts, one.dropped) == (12, 0)
    assert one.text == " ".join(alone * 2)
    assert one.score == pytest.approx(math.fsum(one.log_probs), abs=1e-4)
    (cut,) = translator.translate([long], split="never", overlong="truncate")
    count = len(translator.tokenizers.src.encode(long))
    assert (cut.parts, cut.dropped) == (1, count - len(cut.source_ids))
    assert len(cut.source_ids) <= 62
    assert long.startswith(translator.tokenizers.src.decode(cut.source_ids))
    for overlong in ("error", "split"):
        with pytest.raises(DataError, match=f"text 2: text .* has {count} pieces, the model takes 62"):
            translator.translate([lines[0], long], split="never", overlong=overlong)
    (unbroken,) = translator.translate(["我" * 150])
    assert unbroken.parts == unbroken.cuts + 1 == -(-len(translator.tokenizers.src.encode("我" * 150)) // 62)


def test_a_text_that_is_an_error_costs_no_other(translator: Translator, lines: list[str]) -> None:
    seen: list[tuple[int, str]] = []
    given = [lines[0], "\udc80", "我" * 70, lines[1]]
    settings = {"split": "never", "on_error": lambda number, error: seen.append((number, str(error)))}
    found = translator.translate(given, **settings)  # type: ignore[arg-type]
    alone = translator.translate([lines[0], lines[1]])
    assert found == [alone[0], EMPTY, EMPTY, alone[1]]
    assert [number for number, _ in seen] == [1, 2]
    assert "lone surrogate" in seen[0][1]
    assert "the model takes 62" in seen[1][1]


def test_layout_stays_and_alignment_counts_on(translator: Translator, lines: list[str]) -> None:
    sentences = [line.rstrip("。？") + "。" for line in lines[:3]]
    alone = translator.translate(sentences, alignment=True)
    (whole,) = translator.translate(["  {}{}\n\n{}\n".format(*sentences)], alignment=True)
    assert whole.text == "  {} {}\n\n{}\n".format(*(one.text for one in alone))
    assert whole.source_pieces == [piece for one in alone for piece in one.source_pieces]
    before = [sum(len(one.source_pieces) for one in alone[:number]) for number in range(3)]
    expected = [at + piece for at, one in zip(before, alone, strict=True) for piece in one.alignment or []]
    assert whole.alignment == expected


def test_n_best_of_several_sentences_are_the_best_combinations(translator: Translator, lines: list[str]) -> None:
    sentences = [line.rstrip("。？") + "。" for line in lines[:2]]
    first, second = translator.n_best(sentences, SearchConfig(4, 4))
    (together,) = translator.n_best(["".join(sentences)], SearchConfig(4, 4))
    pairs = [(not (a.complete and b.complete), -a.rank_score - b.rank_score) for a in first for b in second]
    assert [-one.rank_score for one in together] == pytest.approx([score for _, score in sorted(pairs)[:4]])
    assert len({one.text for one in together}) == 4


@pytest.mark.long
def test_prefix_and_phrases_hold_for_the_text(translator: Translator, lines: list[str]) -> None:
    text = "".join(line.rstrip("。？") + "。" for line in lines) * 3
    for beam in (1, 3):
        (one,) = translator.translate([text], beam=beam, prefix="Yesterday", require=["tomorrow", "the apple"])
        assert (one.parts, one.unmet) == (18, [])
        assert one.text.startswith("Yesterday")
        assert [one.text.count(word) for word in ("Yesterday", "tomorrow", "the apple")] == [1, 1, 1]
    several = translator._divide(text, split="sentences", overlong="split", prefix="She left. Then she").parts
    assert len(several) == len(translator._divide(text, split="overlong", overlong="split").parts), (
        "no part begins with two sentences"
    )
    ranked = translator.alternatives(text[:40], 3, prefix="Yes", beam=2)
    assert all(one.text.startswith("Yes") and one.parts > 1 for one in ranked)
    assert len({one.text for one in ranked}) == len(ranked) > 1


def test_output_is_one_line(translator: Translator) -> None:
    ids = translator.tokenizers.tgt.encode("one\ntwo\r\nthree ")
    assert translator.text_of(ids) == "one two  three"


def test_a_trace_follows_the_way_of_a_greedy_translation(translator: Translator, lines: list[str]) -> None:
    trace = translator.trace(lines[0], top=2)
    (greedy,) = translator.translate(lines[:1], beam=1)
    assert trace.translation == greedy.text
    assert [step.chosen for step in trace.steps] == greedy.target_ids
    assert trace.source_ids == [*greedy.source_ids, 2]
    used = {piece for step in trace.steps for piece in [*step.input_ids, step.chosen]}
    assert used <= trace.pieces.keys()
    with pytest.raises(DataError, match="there is nothing to trace"):
        translator.trace("")


def test_a_run_without_a_checkpoint_says_so(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_bytes((toy_run / "recipe.toml").read_bytes())
    with pytest.raises(ModelError, match="has no checkpoint yet: train it, or go on with --resume"):
        Translator.load(tmp_path)


def test_a_prefix_that_the_vocabulary_cannot_spell_is_refused(translator: Translator, lines: list[str]) -> None:
    tokenizer = Tokenizer.train(lines * 2, TokenizerConfig(kind="char", vocab_size=400))
    recipe = parse_translation(merge(RECIPE, {"tokenizer": {"kind": "char"}}), "here")
    parts = TextParts(tokenizer, tokenizer)
    spelling = Translator(recipe, parts.both, build_translator(recipe, parts.sizes).eval(), translator.device)
    assert spelling.translate(lines[:1], prefix=lines[1])[0].text.startswith(lines[1])
    with pytest.raises(DataError, match="prefix"):
        spelling.translate(lines[:1], prefix="☃")


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("beam", [1, 3])
def test_a_prefix_lengthens_the_limit(
    beam: int, translator: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_end(monkeypatch)  # only the limit ends anything
    tokenizers = translator.tokenizers
    source, prefix = "我", " ".join(["the apple"] * 4)
    count = len(tokenizers.tgt.encode(prefix))
    plain, longer = (translator.translate([source], beam=beam, prefix=start)[0] for start in ("", prefix))
    limit = translator.lengths.pieces(len(tokenizers.src.encode(source)))
    assert (len(plain.pieces), len(longer.pieces)) == (limit, limit + count)
    assert 0 < count < 64 - limit, "the model's 64 positions bound neither"


def has_word(text: str, word: str) -> bool:
    """As ``clearhead.text.phrase`` has it: a Chinese character beside a word is no part of it."""
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])", text) is not None


@pytest.mark.long
@pytest.mark.parametrize("beam", [1, 3])
def test_required_and_avoided_phrases(beam: int, translator: Translator, lines: list[str]) -> None:
    free = translator.translate(lines, beam=beam)
    wrong = [one.text.split()[0] for one in free]
    for one in translator.translate(lines, beam=beam, require=["tomorrow", "the apple"]):
        assert (one.unmet, has_word(one.text, "tomorrow"), has_word(one.text, "the apple")) == ([], True, True), (
            one.text
        )
    for one, word in zip(translator.translate(lines, beam=beam, avoid=[[word] for word in wrong]), wrong, strict=True):
        assert not has_word(one.text, word), one.text
    assert translator.translate(lines, beam=beam, require=[[]] * 6, avoid=[[]] * 6) == free


@pytest.mark.long
def test_phrases_of_one_text_are_nothing_to_another(translator: Translator, lines: list[str]) -> None:
    require, avoid = [["tomorrow"], [], ["in the box", "I"], [], ["I"], []], [[], [], [], ["the"], [], ["the", "a"]]
    together = translator.n_best(lines, SearchConfig(4, 3), require=require, avoid=avoid)
    for line, needs, never, ranked in zip(lines, require, avoid, together, strict=True):
        (alone,) = translator.n_best([line], SearchConfig(4, 3), require=needs, avoid=never)
        assert [(one.pieces, one.unmet) for one in ranked] == [(one.pieces, one.unmet) for one in alone]
        assert all(has_word(one.text, phrase) is (phrase not in one.unmet) for one in ranked for phrase in needs)
        assert not any(has_word(one.text, phrase) for one in ranked for phrase in never)


@pytest.mark.long
def test_what_is_unmet_is_told(translator: Translator, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = lines[0].rstrip("。？") + "。"
    required = translator.translate([sentence])[0].text.split()[0]
    (split,) = translator.translate([sentence * 12], require=[required, "tomorrow"])
    assert (split.parts, split.unmet) == (12, [])
    assert [one.unmet for one in translator.translate(["", "  "], require=["tomorrow"])] == [[], []]
    monkeypatch.setattr(Translator, "_limit", lambda self, source, fixed, most=0: 1)
    (cut,) = translator.translate(lines[:1], require=["tomorrow the apple"])
    assert (cut.complete, cut.unmet) == (False, ["tomorrow the apple"])


@pytest.mark.long
def test_a_long_phrase_has_room(translator: Translator) -> None:
    phrase = " ".join(["the apple"] * 4)
    (one,) = translator.translate(["我"], require=[phrase], beam=2)
    assert phrase in one.text
    with pytest.raises(DataError, match="pieces, at most 63 leave room for the end"):
        translator.translate(["我"], require=[phrase * 10])


@pytest.fixture(scope="module")
def bytewise(translator: Translator) -> Translator:
    """A fresh model into Chinese whose pieces are single bytes, so that nothing but a rule makes characters of them."""
    config = TokenizerConfig(vocab_size=260)
    tokenizer = Tokenizer.train(["苹果"], config)
    recipe = parse_translation(merge(RECIPE, {"tokenizer": {"vocab_size": 260}, "src": "en", "tgt": "zh"}), "here")
    parts = TextParts(tokenizer, tokenizer)
    torch.manual_seed(0)
    model = build_translator(recipe, parts.sizes)
    for weight in model.parameters():
        weight.data *= 1.5  # far from uniform
    return Translator(recipe, parts.both, model.eval(), torch.device("cpu"), lengths=LengthLimit(0.5, 7))


@pytest.mark.long
def test_what_is_written_is_whole(bytewise: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Greedy and beam, n-best, a prefix, a required phrase, alternatives, trace and tree: no half character."""
    texts = ["an apple", "I"]

    def written() -> list[str]:
        ranked = [one for beam in (1, 4) for each in bytewise.n_best(texts, SearchConfig(beam, beam)) for one in each]
        ranked += bytewise.translate(texts, prefix="苹") + bytewise.translate(texts, require=["果", "é"])
        ranked += bytewise.alternatives(texts[0], 6)
        _, tree = bytewise.beam_tree(texts[1], SearchConfig(4, 4))
        paths = [[tree.nodes[node].piece for node in tree.path(end)] for end in tree.returned]
        return [one.text for one in ranked] + [bytewise.tokenizers.tgt.decode(path) for path in paths]

    found = [*written(), bytewise.trace(texts[0]).translation]
    assert [text for text in found if "\ufffd" in text] == []
    assert sum(not text.isascii() for text in found) > 5
    required = bytewise.translate(texts, require=["果", "é"])
    assert all("果" in one.text and "é" in one.text and not one.unmet for one in required)
    traced = bytewise.trace(texts[0])
    assert [step.chosen for step in traced.steps] == bytewise.translate(texts[:1], beam=1)[0].target_ids
    monkeypatch.setattr(search_rules, "whole_characters", lambda *_: [])
    assert any("\ufffd" in text for text in written()), "without the rule there are halves"


def test_several_translations_read_differently(bytewise: Translator, translator: Translator, lines: list[str]) -> None:
    for given, texts in ((bytewise, ["an apple"]), (translator, lines[:3])):
        for ranked in given.n_best(texts, SearchConfig(6, 6)):
            assert len({one.text for one in ranked}) == len(ranked) == 6
        several = given.alternatives(texts[0], 5)
        assert len({one.text for one in several}) == len(several)


def test_the_limit_is_that_of_the_run_or_the_one_given(translator: Translator, toy_run: Path, lines: list[str]) -> None:
    report = json.loads((toy_run / "data-report.json").read_text(encoding="utf-8"))["train"]["length_limit"]
    assert translator.lengths == LengthLimit(report["ratio"], report["spare"])
    assert report["references_over"] == 0
    for beam in (1, 3):
        (free,), (cut,) = (translator.n_best(lines[:1], SearchConfig(beam, limit=limit)) for limit in (0, 3))
        assert (free[0].complete, cut[0].complete, len(cut[0].pieces)) == (True, False, 3)
    (prefixed,) = translator.n_best(lines[:1], SearchConfig(3, limit=3), prefix="The apple")
    assert len(prefixed[0].pieces) == 3 + len(translator.tokenizers.tgt.encode("The apple"))
    _, tree = translator.beam_tree(lines[0], SearchConfig(3, limit=3))
    assert max(node.step for node in tree.nodes) == 3


def test_a_better_one_that_was_cut_is_told(translator: Translator, lines: list[str]) -> None:
    found = [translator.n_best(lines, SearchConfig(6, limit=limit)) for limit in (3, 4, 5, 6)]
    flat = [each[0] for ranked in found for each in ranked]
    assert any(one.cut_better for one in flat)
    assert not any(one.cut_better and not one.complete for one in flat)
