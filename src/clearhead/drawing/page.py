"""A view as a file: one self-contained page, or a picture."""

import html
import io
import warnings
from pathlib import Path
from typing import Any

from clearhead.drawing.figure import LIVE, embedded, resource, script_words
from clearhead.drawing.report import View
from clearhead.errors import UsageError
from clearhead.files import write_output
from clearhead.messages import localized, spoken_language

CHINESE_FONTS = (
    *(
        "Noto Sans Mono CJK SC",
        "Noto Sans CJK SC",
        "Noto Sans CJK JP",
    ),  # older versions of matplotlib see only the first font of a collection
    *("WenQuanYi Zen Hei Mono", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "Microsoft YaHei", "PingFang SC"),
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""Content Security Policy of a page: the browser loads nothing from elsewhere."""


def page(view: View) -> str:
    """Returns one self-contained HTML page; its script draws figures, and switches the language."""
    body, language = view.html(), spoken_language()
    style = f"<style>{resource('page.css')}</style>"
    head = (
        f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(localized(view.title))}</title>{style}"
    )
    other = '<button id="language" type="button">' + {"en": "中文", "zh": "English"}[language] + "</button>"
    has_both = "data-zh=" in body or "data-language=" in body
    script = (
        f'<script type="application/json" id="words">{embedded(script_words())}</script>'
        f'<script type="module">{resource("page.js")}</script>'
    )
    around = f"{other if has_both else ''}<main>{body}</main>{script if has_both or LIVE in body else ''}"
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
        from matplotlib import font_manager, rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--png: needs matplotlib; install clearhead[plots]") from error
    parts = view.parts()
    heights = [part.height + part.frame for part in parts]
    installed = set(font_manager.get_font_names())
    chinese = [name for name in CHINESE_FONTS if name in installed]
    # matplotlib takes missing characters only from families listed here by name; of "sans-serif" it uses one
    styles: Any = {"font.monospace": ["DejaVu Sans Mono", *chinese], "font.family": ["DejaVu Sans", *chinese]}
    styles |= {"axes.spines.top": False, "axes.spines.right": False}
    figure = Figure(figsize=(10, sum(heights)), layout="constrained")
    with rc_context(styles), warnings.catch_warnings():  # matplotlib looks fonts up when it saves a picture
        warnings.filterwarnings(
            "ignore", r"Glyph \d+", UserWarning
        )  # without a Chinese font, characters are empty boxes
        places = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, place in zip(parts, places, strict=True):  # each part has the height it asks for
            part.draw(place.subplots())
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=120)
    write_output(file, picture.getvalue())
