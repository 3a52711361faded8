"""The attention of runs of every family: pieces of the text, worth of heads, and outputs that stay."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from clearhead.decode.sampling import SamplingConfig
from clearhead.errors import DataError, UsageError
from clearhead.inspect.attend.numbers import Pick
from clearhead.inspect.heads import sites_of
from clearhead.meter.watch import watching
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.verbs.look.opened import Choice, Opened
from clearhead.verbs.look.reading import attention_of, embedding_of, jacobian_of, query_of
from clearhead.verbs.look.writing import beam_of, steps_of
from tests.small import assert_near

TEXT = "他喜欢书。"


def opened(run: Path, text: str | None = TEXT) -> Opened:
    return Opened.open(run, text, checkpoint="best", device="cpu")


def test_a_translation_is_the_models_own(toy_run: Path) -> None:
    one = opened(toy_run)
    view = attention_of(one)
    found = one.trained.translate([TEXT], beam=1, alignment=True)[0]
    by_kind = {each.kind: (each, texts) for each, texts in zip(view.maps, view.texts, strict=True)}
    assert list(by_kind["self"][1].keys) == found.source_pieces
    assert list(by_kind["cross"][1].keys) == found.source_pieces
    assert list(by_kind["cross"][1].queries)[1:] == found.pieces[:-1]
    assert list(by_kind["causal"][1].queries) == list(by_kind["causal"][1].keys) == list(by_kind["cross"][1].queries)
    assert view.alignment == [
        (piece, found.source_pieces[at]) for piece, at in zip(found.pieces, found.alignment or [], strict=True)
    ]
    mean = -sum(found.log_probs) / len(found.log_probs)
    assert view.loss == pytest.approx(mean, abs=1e-4)
    assert len(view.maps) == 1 + 2 * 2
    for each in view.maps:
        assert_near(each.weights.sum(-1), torch.ones(each.weights.shape[:2]))


def test_a_language_models_loss_is_that_of_its_log_probs(toy_lm_run: Path) -> None:
    one = opened(toy_lm_run)
    view = attention_of(one)
    pieces = one.trained.tokenizer.encode(TEXT)
    assert len(view.texts[0].queries) == len(pieces) + 1
    log_probs = one.trained.log_probs(TEXT)
    assert view.loss == pytest.approx(-sum(log_probs) / len(log_probs), abs=1e-4)


@pytest.mark.parametrize("family", ["toy_masked_run", "toy_classifier"])
def test_an_encoder_sees_marks_and_says_what_is_hidden(family: str, request: pytest.FixtureRequest) -> None:
    view = attention_of(opened(request.getfixturevalue(family), "he likes books"))
    assert {one.kind for one in view.maps} == {"self"}
    pieces = view.texts[0].queries
    assert (pieces[0], pieces[-1]) == ("[CLS]", "[SEP]")
    assert view.loss is not None
    assert all(head.worth is not None for one in view.maps for head in one.heads)


def test_an_encoder_sees_masks_as_fill_does(toy_masked_run: Path) -> None:
    view = attention_of(opened(toy_masked_run, "he [MASK] books"))
    assert view.texts[0].queries.count("[MASK]") == 1
    assert f"of {len(view.texts[0].queries) - 3} pieces" in view.note  # two marks and the mask are not hidden
    alone = attention_of(opened(toy_masked_run, "[MASK]"))
    assert (list(alone.texts[0].queries), alone.loss) == (["[CLS]", "[MASK]", "[SEP]"], None)


def test_what_goes_in_has_the_pieces_of_each_side(toy_run: Path, toy_masked_run: Path) -> None:
    run = opened(toy_run)
    attended, (source, target) = attention_of(run), embedding_of(run).inputs
    assert (source.pieces, target.pieces) == (
        list(attended.texts[0].keys),
        list(attended.texts[-1].queries),
    )
    assert (source.name, target.name) == ("encoder.embedding", "decoder.embedding")
    assert max(source.apart, target.apart) < 1e-5
    (bert,) = embedding_of(opened(toy_masked_run, "he likes books")).inputs
    assert list(bert.parts) == ["row", "position", "segment"]
    assert (bert.pieces[0], bert.pieces[-1]) == ("[CLS]", "[SEP]")
    assert bert.apart < 1e-5


@pytest.mark.parametrize(
    ("family", "pick"),
    [
        ("toy_run", Pick("cross", 0, 1, 2)),
        ("toy_run", Pick("encoder")),
        ("toy_lm_run", Pick(layer=0, head=1, query=3)),
        ("toy_masked_run", Pick()),
        ("toy_classifier", Pick()),
    ],
)
def test_a_query_is_the_row_that_the_view_of_attention_shows(
    family: str, pick: Pick, request: pytest.FixtureRequest
) -> None:
    run = replace(opened(request.getfixturevalue(family)), choice=Choice(pick))
    view, attended = query_of(run), attention_of(run)
    at = [its.name for its in attended.maps].index(view.name)
    assert view.weights == pytest.approx(attended.maps[at].weights[view.head, view.query].tolist(), abs=1e-5)
    assert (view.asks, view.keys) == (attended.texts[at].queries[view.query], list(attended.texts[at].keys))
    softmaxed = jacobian_of(run)
    assert softmaxed.weights == pytest.approx(view.weights)
    assert softmaxed.names == view.keys
    assert view.title in softmaxed.title


@pytest.mark.long
def test_everything_watched_writes_the_same(toy_run: Path, toy_lm_run: Path, toy_masked_run: Path) -> None:
    """Greedy, beam and sampled, with all taps hooked; unwatched the packed copies write, watched the eager models."""
    translator, writer, bert = (opened(run, None).trained for run in (toy_run, toy_lm_run, toy_masked_run))
    texts, sampled = ["他喜欢书。", "我"], SamplingConfig(top_k=5, seed=3)
    plain = [translator.translate(texts, beam=beam) for beam in (1, 4)]
    written = [
        writer.generate(texts, GenerationConfig(max_new=12, beam=beam), sampling=how)
        for beam, how in ((0, SamplingConfig(temperature=0.0)), (3, SamplingConfig()), (0, sampled))
    ]
    filled = bert.fill(["he likes [MASK] ."])
    eager, own, masked = (replace(each, weights=None) for each in (translator, writer, bert))
    for model in (eager.model, own.model, bert.model):
        assert len(sites_of(model)) > 0
    with watching({f"{at}.{site.name}": site.core.tap for at, model in enumerate((eager.model, own.model, bert.model))
                   for site in sites_of(model)}) as seen:  # fmt: skip
        for beam, expected in zip((1, 4), plain, strict=True):
            for one, other in zip(eager.translate(texts, beam=beam), expected, strict=True):
                assert one.target_ids == other.target_ids
                assert one.log_probs == pytest.approx(other.log_probs, abs=1e-4)
        for (beam, how), expected in zip(
            ((0, SamplingConfig(temperature=0.0)), (3, SamplingConfig()), (0, sampled)), written, strict=True
        ):
            found = own.generate(texts, GenerationConfig(max_new=12, beam=beam), sampling=how)
            assert [one.ids for one in found] == [one.ids for one in expected]
        assert [one.text for one in masked.fill(["he likes [MASK] ."])] == [one.text for one in filled]
    assert all(seen.values())
    for model in (eager.model, own.model, bert.model):
        assert not any(module._forward_hooks for module in model.modules())


def test_no_text_and_one_that_is_too_long(toy_run: Path, toy_lm_run: Path) -> None:
    with pytest.raises(UsageError, match="view 'attention': needs a TEXT behind it"):
        attention_of(opened(toy_run, None))
    with pytest.raises(DataError, match=r"has \d+ pieces, the model has room for 48"):
        attention_of(opened(toy_lm_run, "他喜欢书。" * 60))


def test_a_translator_that_reads_the_line_before_shows_it(stories: Path) -> None:
    """Behind a tab stands the text; attention, steps, the tree of a search and the rows of an embedding are of both."""
    run, before, text = stories / "run", "狗来了。", "它跑了。"
    one = opened(run, f"{before}\t{text}")
    found = one.trained.translate([text], beam=1, alignment=True, context=before)[0]
    view = attention_of(one)
    cross = next(texts for each, texts in zip(view.maps, view.texts, strict=True) if each.kind == "cross")
    assert list(cross.keys) == found.source_pieces
    assert "<ctx>" in cross.keys
    assert view.alignment == [
        (piece, found.source_pieces[at]) for piece, at in zip(found.pieces, found.alignment or [], strict=True)
    ]
    assert view.loss == pytest.approx(-sum(found.log_probs) / len(found.log_probs), abs=1e-4)
    assert steps_of(one).written == found.text == "the dog runs."
    assert beam_of(one, beam=2).beam == 2
    alone = attention_of(opened(run, text))
    keys = next(texts.keys for each, texts in zip(alone.maps, alone.texts, strict=True) if each.kind == "cross")
    assert list(keys) == one.trained.translate([text], beam=1)[0].source_pieces
