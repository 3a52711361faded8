"""The tree as a picture: every candidate with its piece, score and fate, at a place of its own."""

import pytest
from matplotlib.figure import Figure

from clearhead.drawing.tree import FAINT, STEPS, draw_tree, tree_height

WHY = {"went on": "went on", "outranked": "kept, but none of its continuations was", "finished": "finished"}


def node(parent: int | None, step: int, rank: int, fate: str, best: int = 0) -> dict:
    score = -step - rank / 10
    return {
        "parent": parent,
        "step": step,
        "rank": rank,
        "piece": f"p{step}.{rank}",
        "score": score,
        "fate": fate,
        "best": best,
    }


def tree(steps: int) -> tuple[list[dict], list[int]]:
    nodes = []
    for step in range(1, steps + 1):
        parent = 2 * (step - 2) if step > 1 else None
        nodes += [node(parent, step, 1, "went on", 1), node(parent, step, 2, "outranked")]
    nodes[-2]["fate"] = "finished"
    return nodes, [len(nodes) - 2]


def drawn(steps: int):
    axes = Figure().subplots()
    draw_tree(axes, *tree(steps), WHY)
    return axes


def test_every_candidate_says_its_piece_score_and_fate() -> None:
    said = [text.get_text() for text in drawn(3).texts]
    for step in (1, 2, 3):
        assert f"step {step}" in said
        for rank in (1, 2):
            assert f"p{step}.{rank}" in said
            assert f"{-step - rank / 10:.2f}" in said
    assert said.count("outranked") == 3
    assert said.count("result 1") == 1
    assert "outranked 3: kept, but none of its continuations was" in said
    assert "finished 1" in said


def test_boxes_do_not_lie_on_each_other_and_are_inside() -> None:
    axes = drawn(2 * STEPS + 1)
    boxes = [patch.get_bbox() for patch in axes.patches]
    assert len(boxes) == 2 * (2 * STEPS + 1)
    for at, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[:at])
        assert 0 <= one.x0 < one.x1 <= axes.get_xlim()[1]
        assert 0 <= one.y0 < one.y1 <= tree_height(tree(2 * STEPS + 1)[0])


def test_a_line_leads_from_each_candidate_to_its_parent_and_the_best_is_in_colour() -> None:
    axes = drawn(STEPS + 1)
    lines = axes.get_lines()
    assert len(lines) == 2 * STEPS
    boxes = [patch.get_bbox() for patch in axes.patches]
    for line, (start, end) in zip(lines, zip([0, 0], [2, 3], strict=True), strict=False):
        (x0, x1), (y0, y1) = line.get_xdata(), line.get_ydata()
        assert x0 == pytest.approx(boxes[start].x1)
        assert x1 == pytest.approx(boxes[end].x0)
        assert boxes[start].y0 < y0 < boxes[start].y1
        assert boxes[end].y0 < y1 < boxes[end].y1
    assert [line.get_color() != FAINT for line in lines] == [True, False] * STEPS
    assert min(lines[-1].get_xdata()) > 0  # which begins a band


def test_a_longer_search_makes_a_higher_picture_not_a_wider_one() -> None:
    heights = [tree_height(tree(steps)[0]) for steps in (STEPS, STEPS + 1, 2 * STEPS)]
    assert heights[0] < heights[1] == heights[2]
    assert drawn(2).get_xlim() == drawn(3 * STEPS).get_xlim()
