"""A view as a file: one self-contained page, or a picture."""

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING

from clearhead.drawing.figure import bundle, digest, embedded, resource, script_says, settings
from clearhead.drawing.fonts import SANS, fonts_of, spelled
from clearhead.drawing.report import Part, View
from clearhead.errors import UsageError
from clearhead.files import write_output
from clearhead.messages import localized, speaking, spoken_language

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {script}"
"""Content Security Policy of a page: the browser loads nothing from elsewhere, and runs its one script alone."""


def page(view: View) -> str:
    """Returns one self-contained HTML page; its script draws figures, and switches language and theme."""
    body, language, script = view.html(), spoken_language(), bundle()
    policy = POLICY.format(script=digest(script))
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(localized(view.title))}</title><style>{resource('style.css')}</style>"
    )
    scripts = (
        f'<script type="application/json" id="settings">{embedded(settings(script_says()))}</script>'
        f'<script type="module">{script}</script>'
    )
    around = f'<div id="switches"></div><main>{body}</main>{scripts}'
    return f'<!doctype html><html lang="{language}"><head>{head}</head><body>{around}</body></html>'


def save_page(view: View, file: Path) -> None:
    """Writes the page of a view.

    Raises:
        DataError: the file cannot be written.
    """
    write_output(file, page(view).encode())


def save_picture(view: View, file: Path) -> None:
    """Draws all parts of a view, one below the other, as a PNG picture.

    Raises:
        UsageError: matplotlib is not installed.
        DataError: the file cannot be written.
    """
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise UsageError("--png: needs matplotlib; install clearhead[plots]") from error
    parts, picture = view.parts(), io.BytesIO()
    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.family": SANS}):
        figure = _drawn(parts)
        fonts = fonts_of(figure)
        if fonts.missing:  # in words that there are letters for, and codes for the rest
            fonts.warn()
            with speaking("en" if fonts.lacks_chinese else None):
                figure = _drawn([spelled(part, fonts.missing) for part in parts])
        fonts.dress(figure)
        figure.savefig(picture, format="png", dpi=120)
    write_output(file, picture.getvalue())


def _drawn(parts: list[Part]) -> "Figure":
    """Draws parts one below the other, each as high as it asks for."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights = [part.height + part.frame for part in parts]
    # without space between rows, of which the engine takes a share of the whole figure, however long that is
    figure = Figure(figsize=(10, sum(heights)), layout=ConstrainedLayoutEngine(hspace=0.0))
    places = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, place in zip(parts, places, strict=True):
        part.draw(place.subplots())
    return figure
