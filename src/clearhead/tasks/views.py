"""The views of ``clearhead inspect``: which function makes each of a run."""

from collections.abc import Callable, Iterator, Mapping

from torch import Tensor

from clearhead.checkpoint import checkpoints_of, load_checkpoint
from clearhead.errors import ClearheadError
from clearhead.inspect.call import call
from clearhead.inspect.modules import model
from clearhead.inspect.norms import norm
from clearhead.inspect.ranks import rank
from clearhead.inspect.report import View
from clearhead.inspect.together import Together
from clearhead.tasks.decoding_views import beam_of, steps_of
from clearhead.tasks.inspection import Opened
from clearhead.tasks.reading import attention_of


def model_of(opened: Opened) -> View:
    """See ``inspect.modules.model``."""
    return model(opened.model, opened.inputs, tokens=opened.tokens)


def rank_of(opened: Opened) -> View:
    """See ``inspect.ranks.rank``."""
    return rank(opened.model, lambda: call(opened.model, opened.inputs))


def norm_of(opened: Opened) -> View:
    """See ``inspect.norms.norm``; gamma and beta are those of every checkpoint that the run still has."""
    return norm(opened.model, lambda: call(opened.model, opened.inputs), checkpoints=_weights(opened))


def _weights(opened: Opened) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    for path in checkpoints_of(opened.run):
        saved = load_checkpoint(path, ("model", "ema"))
        yield saved.state["step"], saved.tensors.get("ema", saved.tensors["model"])


def all_of(opened: Opened) -> View:
    """Shows what a page of a run has, as far as its family and the text allow."""
    views, missing = dict[str, View](), dict[str, str]()
    for name in PAGE:
        try:
            views[name] = VIEWS[name](opened)
        except ClearheadError as error:
            missing[name] = str(error)
    return Together(f"{opened.run.name}: {opened.text or 'random pieces'}", views, missing)


PAGE = ("attention", "steps", "beam", "rank", "norm")
VIEWS: dict[str, Callable[[Opened], View]] = {
    "model": model_of,
    "attention": attention_of,
    "steps": steps_of,
    "beam": beam_of,
    "rank": rank_of,
    "norm": norm_of,
    "all": all_of,
}
"""By the word of the command line; ``cli/inspect.py`` has a line of help for each."""
