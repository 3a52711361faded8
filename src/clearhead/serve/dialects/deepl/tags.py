"""What DeepL calls tag handling: texts with markup, which is kept where the words that it is about have gone."""

import functools
from collections.abc import Callable

from clearhead.documents.blocks import Document
from clearhead.documents.markup import markup_document, xml_document
from clearhead.serve.dialects.deepl.shape import word_of
from clearhead.serve.http.body import Fields
from clearhead.serve.http.request_error import RequestError

NAMES, MOST_NAMES = ("ignore_tags", "splitting_tags", "non_splitting_tags"), 100


def reader_of(fields: Fields) -> Callable[[str], Document] | None:
    """Returns what reads the texts of a request; None where they are plain.

    Raises:
        RequestError: ``tag_handling`` or what belongs to it is none of DeepL's.
    """
    match fields.text("tag_handling", ""):
        case "":
            return None
        case "html":
            return markup_document
        case "xml":
            kept, parting, joining = (_names(fields, name) for name in NAMES)
            outline = word_of(fields, "outline_detection", "1", ("0", "1")) == "1"
            return functools.partial(xml_document, kept=kept, parting=parting, joining=joining, outline=outline)
    raise RequestError(400, "Value for 'tag_handling' not supported.", param="tag_handling")


def _names(fields: Fields, name: str) -> frozenset[str]:
    """Reads names of elements: a list, or a text with commas."""
    given = fields.texts(name, most=MOST_NAMES, default=[])
    return frozenset(own.strip().lower() for each in given for own in each.split(",") if own.strip())
