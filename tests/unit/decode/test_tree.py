"""The tree of a beam search: the path scores are the reported ones, and every hypothesis has one end."""

import math

import pytest
import torch
from torch import Tensor

from clearhead.decode.decoding import Decoding, start_decoding
from clearhead.decode.hypotheses import Hypothesis, SearchConfig
from clearhead.decode.rules import forbid
from clearhead.decode.search import beam_search, search_steps
from clearhead.decode.tree import BeamTree, TreeBuilder, grow_tree
from tests.small import small

BOS, EOS, RULES = 1, 2, [forbid([0, 1, 3])]
SOURCES = torch.tensor([[5, 9, 4, 7, 2], [8, 4, 2, 0, 0]])


def started(seed: int, beam: int, sources: Tensor = SOURCES) -> Decoding:
    with torch.inference_mode():
        mask = sources != 0
        return start_decoding(small(seed=seed), sources, mask if not mask.all() else None, beam=beam)


def grow(seed: int, config: SearchConfig, limits: list[int]) -> tuple[list[BeamTree], list[list[Hypothesis]]]:
    builders = [TreeBuilder(config, limit=limit, sentence=row) for row, limit in enumerate(limits)]
    steps = search_steps(
        started(seed, config.beam, SOURCES[: len(limits)]), config, limits=limits, bos_id=BOS, eos_id=EOS, rules=RULES
    )
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return [one.finish(ranked, eos_id=EOS) for one, ranked in zip(builders, end.value, strict=True)], end.value
        for builder in builders:
            builder.add(step)


@pytest.mark.parametrize("config", [SearchConfig(1), SearchConfig(3), SearchConfig(5, 5, 0.6), SearchConfig(4, 2, 0.0)])
@pytest.mark.parametrize("seed", range(2))
def test_paths_sum_to_the_reported_scores_and_the_search_is_the_same(seed: int, config: SearchConfig) -> None:
    trees, found = grow(seed, config, [9, 6])
    unwatched = beam_search(started(seed, config.beam), config, limits=[9, 6], bos_id=BOS, eos_id=EOS, rules=RULES)
    assert found == unwatched
    for tree, ranked in zip(trees, found, strict=True):
        assert len(tree.returned) == len(ranked) > 0
        for at, hypothesis in zip(tree.returned, ranked, strict=True):
            path = [tree.nodes[one] for one in tree.path(at)]
            assert [node.piece for node in path] == hypothesis.ids + [EOS] * hypothesis.complete
            assert [node.log_prob for node in path] == hypothesis.log_probs
            assert math.fsum(node.log_prob for node in path) == pytest.approx(hypothesis.score, abs=1e-6)
            assert tree.nodes[at].rank_score == pytest.approx(hypothesis.rank_score, abs=1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_scores_of_every_node_are_those_of_the_model(seed: int) -> None:
    (tree,), _ = grow(seed, SearchConfig(3), [8])
    model = small(seed=seed)
    for at, node in enumerate(tree.nodes):
        ids = [BOS, *(tree.nodes[one].piece for one in tree.path(at))]
        with torch.inference_mode():
            log_probs = model(SOURCES[:1], torch.tensor([ids[:-1]]))[0].log_softmax(-1)
        expected = log_probs.gather(1, torch.tensor(ids[1:])[:, None]).sum()
        assert node.score == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.long
def test_each_fate_is_told_as_it_was() -> None:
    seen = set()
    for seed in range(12):
        for config in (SearchConfig(2), SearchConfig(4, 1, 0.0), SearchConfig(3, 3)):
            (tree,), _ = grow(seed, config, [7])
            check(tree, config, 7)
            seen |= {node.fate for node in tree.nodes}
    assert seen == {"went on", "finished", "pushed out", "late end", "not kept", "outranked", "overtaken", "limit"}


def check(tree: BeamTree, config: SearchConfig, limit: int) -> None:
    children: dict[int | None, list[int]] = {}
    for at, node in enumerate(tree.nodes):
        children.setdefault(node.parent, []).append(at)
        assert node.parent is None or tree.nodes[node.parent].step == node.step - 1
    last = max(node.step for node in tree.nodes)
    for at, node in enumerate(tree.nodes):
        going = [one for one in children.get(at, []) if tree.nodes[one].fate not in ("not kept", "late end")]
        match node.fate:
            case "went on":
                assert going
                assert node.died is None
            case "outranked":
                assert not going
                assert node.died == node.step + 1
            case "overtaken" | "limit":
                assert (node.step, node.died, children.get(at)) == (last, last, None)
                assert (node.fate == "limit") == (last == limit)
            case "finished" | "pushed out":
                assert node.piece == EOS
                assert node.rank <= config.beam
            case "late end":
                assert node.piece == EOS
                assert node.rank > config.beam
            case "not kept":
                assert node.rank > config.beam
    finished = [node.rank_score for node in tree.nodes if node.fate == "finished"]
    assert len(finished) <= config.beam
    assert all(node.rank_score <= min(finished) for node in tree.nodes if node.fate == "pushed out")
    for step in range(1, last + 1):
        alive = [n for n in tree.nodes if n.step == step and n.piece != EOS and n.fate != "not kept"]
        assert len(alive) <= config.beam


def test_without_a_penalty_an_overtaken_hypothesis_could_not_have_won() -> None:
    config = SearchConfig(3, 1, 0.0)
    for seed in range(8):
        (tree,), _ = grow(seed, config, [9])
        best = tree.nodes[tree.returned[0]].score
        assert all(node.score <= best for node in tree.nodes if node.fate == "overtaken")


def test_one_that_reads_as_a_better_one_is_told() -> None:
    """The tree says what the search kept: of ends that read alike the best."""
    seen = 0
    for seed in range(8):
        config = SearchConfig(4, 3)
        tree = grow_tree(
            started(seed, 4, SOURCES[:1]), config, limit=7, bos_id=BOS, eos_id=EOS, rules=RULES, text_of=len
        )
        ends = [node for node in tree.nodes if node.fate in ("finished", "pushed out", "same text")]
        best = {step: max(node.rank_score for node in ends if node.step == step) for step in {n.step for n in ends}}
        for node in ends:
            assert (node.fate == "same text") == (node.rank_score < best[node.step])
        texts = [sum(tree.nodes[node].piece != EOS for node in tree.path(at)) for at in tree.returned]
        assert len(set(texts)) == len(texts)
        seen += any(node.fate == "same text" for node in ends)
    assert seen
