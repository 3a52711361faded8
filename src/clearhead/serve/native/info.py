"""What the page needs to know of the models of a server before it asks them."""

from typing import Any

from clearhead.engine.weights.file import is_model_file
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.tasks.expanded import has_run
from clearhead.text.special import ABSENT
from clearhead.verbs.quick import has_torch
from clearhead.version import VERSION


def info(site: Site) -> dict[str, Any]:
    """Returns the models, and how much may be asked."""
    limits = {"pieces": site.settings.max_pieces, "body": site.settings.max_body}
    return {"version": VERSION, "limits": limits, "models": [_model(served) for served in site.models]}


def _model(served: Served) -> dict[str, Any]:
    tree: dict[str, Any] = {"name": served.name, "kind": served.kind}
    if served.version is None:
        return tree | {"checkpoint": None}
    model = served.version.model
    looks_inside = served.has_inside and has_torch() and (not is_model_file(served.path) or has_run(served.path))
    tree |= {"checkpoint": served.version.label, "looks_inside": looks_inside}
    match served.kind:
        case "translator":
            sides = model.sides
            return tree | {"source": sides.src.code, "target": sides.tgt.code, "longest": sides.longest}
        case "writer":
            return tree | {"context": model.context}
        case "encoder":
            ids = model.tokenizer.ids
            return tree | {"mask": None if ids.mask == ABSENT else model.tokenizer.piece(ids.mask)}
        case "classifier":
            return tree | {"classes": list(model.labels.classes), "pairs": bool(model.labels.pairs)}
