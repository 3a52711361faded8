"""Looking inside for the page: attention, steps and search of a run that PyTorch has opened."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from clearhead.drawing.figure import with_words
from clearhead.errors import DataError
from clearhead.messages import Prose
from clearhead.serve.http.body import Fields
from clearhead.tasks.sample import Sample, Shape
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import attention_of
from clearhead.verbs.look.writing import WHY, beam_of, steps_of

MOST = 128  # pieces on either side of a map
MOST_BEAM, MOST_HEADS = 16, 1024
SIDES = {"encoder": "self", "decoder": "causal", "cross": "cross"}
"""Which attention each word of ``side`` means, by kind."""


def _reading(opened: Opened, fields: Fields) -> Opened:
    """Returns a run that reads the text of a request."""
    text = fields.text("text")
    if not text.strip():
        raise DataError("text: is empty")
    looked = replace(opened, sample=Sample(text, Shape()))
    longest = max((tensor.shape[1] for tensor in looked.inputs.values() if tensor.dim() == 2), default=0)
    if longest > MOST:
        raise DataError(f"text: makes {longest} pieces, at most {MOST} can be looked at")
    return looked


def attention(opened: Opened, fields: Fields) -> dict[str, Any]:
    """The attention of all heads on ``text``, or of those of ``layer``, ``head`` and ``side``.

    With ``worth`` each head is switched off in turn, which takes a pass of the model each.
    """
    layer, head = fields.whole("layer", -1, -1, MOST_HEADS), fields.whole("head", -1, -1, MOST_HEADS)
    side = fields.choice("side", "all", ("all", *SIDES))
    view = attention_of(_reading(opened, fields), worth=fields.flag("worth"))
    scene = view.picture().scene()
    kept = [
        number
        for number, panel in enumerate(scene["panels"])
        if (layer < 0 or f".{layer}." in f"{panel['name']}.") and (side == "all" or panel["kind"] == SIDES[side])
    ]
    panels = [scene["panels"][number] for number in kept]
    if head >= 0:
        for panel in panels:
            for name in ("captions", "facts", "weights"):
                panel[name] = panel[name][head : head + 1]
        panels = [panel for panel in panels if panel["weights"]]
        scene["shown"] = [0] * len(scene["shown"])
    if not panels:
        raise DataError(f"layer = {layer}, head = {head}, side = {side}: the model has no such attention")
    focus = [kept.index(number) for number in scene["focus"] if number in kept and kept.index(number) < len(panels)]
    shown = [scene["shown"][number] for number in kept][: len(panels)]
    data = {"panels": panels, "focus": focus or [0], "shown": shown, "note": Prose(view.note), "loss": view.loss}
    return with_words(data)


def trace(opened: Opened, fields: Fields) -> dict[str, Any]:
    """Greedy decoding of ``text`` step by step, with the bytes of the cache."""
    view = steps_of(_reading(opened, fields))
    return with_words({**view.scene(), "text": view.text, "written": view.written, "cache": Prose(view.cache)})


def beam(opened: Opened, fields: Fields) -> dict[str, Any]:
    """The tree of a search with ``beam`` hypotheses: each with its scores, and why it went no further."""
    view = beam_of(_reading(opened, fields), beam=fields.whole("beam", 5, 1, MOST_BEAM))
    counts = {fate: sum(node["fate"] == fate for node in view.nodes) for fate in WHY}
    return with_words({**view.picture().scene(), "counts": {fate: count for fate, count in counts.items() if count}})


LOOKS: dict[str, Callable[[Opened, Fields], dict[str, Any]]] = {"attention": attention, "trace": trace, "beam": beam}
"""By the last word of their paths."""
