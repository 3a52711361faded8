"""What may come next: special pieces, a least length, phrases spelled in any way; the same for a beam."""

import itertools

import pytest
import torch
from torch import Tensor

from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.sampler import Sampler, history_of
from clearhead.decode.sampling import OFF, SamplingConfig, adjust
from clearhead.decode.search import beam_search
from clearhead.text.phrase import Spellings
from tests.table import Table

EOS = 1
PIECES = [b"", b"", b"no", b"n", b"o", b" ", b"n o"]
WORD = Spellings(PIECES).automaton([b"no"])
PLAIN = SamplingConfig()


def allowed(sampler: Sampler, ids: tuple[int, ...], prompt: list[int]) -> bool:
    """Whether the pieces may follow the prompt, one after the other."""
    for place, piece in enumerate(ids):
        history = history_of([[*prompt, *ids[:place]]], [len(prompt)], device="cpu")
        if sampler.adjusted(torch.zeros(1, len(PIECES)), history)[0, piece] == OFF:
            return False
    return True


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize(
    ("prompt", "before"),
    [
        ([], b""),
        ([3], b"n"),  # the text may complete what the prompt begins
        ([5, 3], b" n"),
        ([4, 3], b"on"),  # inside a word
        ([2], b""),  # what the prompt has of it counts for nothing
        ([2, 5, 3], b" n"),
        ([5, 4, 4, 4, 4, 4, 4, 3], b"oon"),  # longer than what is looked at
    ],
)
def test_a_phrase_never_comes_whatever_pieces_spell_it(prompt: list[int], before: bytes) -> None:
    sampler, length = Sampler(PLAIN, EOS, avoided=WORD), 3
    free = Spellings([before, *PIECES[1:]]).automaton([b"no"])  # piece 0 stands for the prompt
    for ids in itertools.product(range(2, len(PIECES)), repeat=length):
        clean = not any(free.contains([0, *ids[:count]]) for count in range(1, length + 1))
        assert allowed(sampler, ids, prompt) is clean, ids
        assert allowed(sampler, (*ids, EOS), prompt) is clean, ids


def test_special_pieces_and_an_early_end_never_come() -> None:
    sampler = Sampler(SamplingConfig(repetition_penalty=2.0), EOS, forbidden=(0, 4), min_length=2)
    prompt = [EOS, 2, 3]
    assert sampler.text(prompt) == [2, 3], "the end mark before a prompt is no piece of it, penalties let it be"
    history = history_of([[2, 3, 5], [2, 3, 5, 6], [2]], [2, 2, 0], device="cpu")
    logits = torch.full((3, 7), 4.0)
    found = sampler.adjusted(logits, history)
    half, off = 2.0, OFF
    assert found.tolist() == [
        [off, off, half, half, off, half, 4.0],
        [off, 4.0, half, half, off, half, half],
        [off, off, half, 4.0, off, 4.0, 4.0],
    ]
    assert (logits == 4.0).all(), "what was given stays as it was"
    probs = sampler.probs(logits, history)
    torch.testing.assert_close(probs, found.double().softmax(-1))


def test_a_history_has_its_rows_on_the_left() -> None:
    history = history_of([[2, 3], [], [4]], [1, 0, 1], device="cpu", room=1)
    assert history.ids.tolist() == [[2, 3, 0], [0, 0, 0], [4, 0, 0]]
    assert (history.lengths.tolist(), history.prompts.tolist()) == ([2, 0, 1], [1, 0, 1])


@pytest.mark.long
def test_a_beam_follows_the_same_rules() -> None:
    """Every hypothesis is one that may be drawn, and none of them is missing from a beam of full width."""
    limit, prompts = 3, [[3], [EOS, 5, 2], []]
    beam = 5**limit
    config = SamplingConfig(no_repeat_ngram=2)
    sampler = Sampler(config, EOS, forbidden=(0,), min_length=1, avoided=WORD)
    found = beam_search(
        Table(range(3), beam, vocab=len(PIECES)),
        SearchConfig(beam, beam),
        limits=[limit] * 3,
        bos_id=0,
        eos_id=EOS,
        rules=[sampler.rule(prompts)],
    )
    for prompt, ranked in zip(prompts, found, strict=True):
        drawable = {
            ids
            for length in range(1, limit + 1)
            for ids in itertools.product(range(2, len(PIECES)), repeat=length)
            if allowed(sampler, ids, sampler.text(prompt))
        }
        complete = {ids for ids in drawable if len(ids) < limit and allowed(sampler, (*ids, EOS), sampler.text(prompt))}
        whole = {ids for ids in drawable if len(ids) == limit}
        assert {tuple(one.ids) for one in ranked if not one.complete} <= whole
        assert {tuple(one.ids) for one in ranked if one.complete} == complete
        assert len(complete) > 5


def test_a_rule_leaves_what_it_allows_as_it_is() -> None:
    sampler = Sampler(PLAIN, EOS, forbidden=(0,))
    scores = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    before, ids = scores.clone(), torch.tensor([[[2], [3], [4]], [[5], [6], [2]]])
    sampler.rule([[3], [4, 4]])(scores, ids, torch.tensor([1, 0]))
    assert (scores[:, :, 0] == OFF).all()
    assert torch.equal(scores[:, :, 1:], before[:, :, 1:])


def test_raises_as_adjust() -> None:
    logits: Tensor = torch.tensor([[0.0, float("nan")]])
    history = history_of([[0]], [1], device="cpu")
    messages = []
    for call in (
        lambda: adjust(logits, history, PLAIN, eos_id=1),
        lambda: Sampler(PLAIN, 1).adjusted(logits, history),
    ):
        with pytest.raises(Exception, match="the best logit is nan") as caught:
            call()
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
