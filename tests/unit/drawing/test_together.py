"""Views as one: all parts, names to jump to, and the reason of what is missing."""

from clearhead.drawing.together import Together
from clearhead.inspect.norms import norm
from clearhead.inspect.ranks import rank
from tests.small import random_rows, small_gpt


def test_all_views_are_there_and_what_is_missing_is_said() -> None:
    import torch

    model, ids = small_gpt(), torch.tensor(random_rows([6]))
    views = {"rank": rank(model, lambda: model(ids)), "norm": norm(model, lambda: model(ids))}
    both = Together("a run: <text>", views, {"beam": "writes no text"})
    assert len(both.parts()) == sum(len(view.parts()) + 1 for view in views.values()) + 1
    page = both.html()
    assert "<h1>a run: &lt;text&gt;</h1>" in page
    for name, view in views.items():
        assert f'<a href="#{name}">' in page
        assert f'<div id="{name}">' in page
        assert both.as_dict()[name] == view.as_dict()
    assert "<p>beam: writes no text</p>" in page
    assert "beam: writes no text" in both.lines(80)
