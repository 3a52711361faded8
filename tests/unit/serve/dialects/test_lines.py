"""Lines: what is made of each comes back in the shape of the texts."""

from clearhead.serve.dialects.lines import Lines, joined


def test_texts_come_apart_and_together() -> None:
    texts = ["a\nb", "", "\n", "c"]
    lines = Lines([text.split("\n") for text in texts])
    assert lines.all == ["a", "b", "", "", "", "c"]
    grouped = lines.grouped([[line.upper()] for line in lines.all])
    assert ["\n".join(line for (line,) in each) for each in grouped] == ["A\nB", "", "\n", "C"]
    assert [joined(each)[0] for each in grouped] == ["A\nB", "", "\n", "C"]


def test_versions_are_joined_by_rank() -> None:
    assert joined([["a", "b", "c"], ["d"], ["e", "f"]]) == ["a\nd\ne", "b\nd\nf", "c\nd\nf"]


def test_the_line_before_stands_before_each() -> None:
    """None where a text of another translator is between the two."""
    assert Lines([["a", "b"], ["c"], [""], ["d"]]).contexts([0, 1, 2, 3]) == ["", "a", "b", "c", ""]
    assert Lines([["a", "b"], ["c"], ["d"]]).contexts([0, 2, 3], "z") == ["z", "a", "", "c"]
    assert Lines([["a"]]).contexts([1], "z") == [""]
    assert Lines([["a"], [], ["b"]]).contexts([0, 1, 2]) == ["", ""], "a document without prose"
