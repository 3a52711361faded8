"""A view as a file: one self-contained page, or a picture."""

import html
import warnings
from pathlib import Path

from clearhead.errors import DataError, UsageError
from clearhead.inspect.report import View

CHINESE_FONTS = ("Noto Sans Mono CJK SC", "Noto Sans CJK SC", "WenQuanYi Zen Hei Mono", "WenQuanYi Micro Hei", "SimHei")
STYLE = """
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif }
body { margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; white-space: pre-wrap }
thead th { border-bottom: 1px solid }
td.number { text-align: right }
td.bar { width: 24rem } td.bar div { background: #3a8f95; height: 1em }
.marked { font-weight: 700; text-decoration: underline wavy #b4552d }
svg { width: 100%; max-width: 50rem; border: 1px solid #8884 }
"""


def page(view: View) -> str:
    """Returns one HTML page that needs no network."""
    title = html.escape(view.title)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = view._repr_html_()
    return f"<!doctype html><html lang=en><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>"


def save_page(view: View, file: Path) -> None:
    """Writes the page of a view.

    Raises:
        DataError: the place cannot be written.
    """
    try:
        file.write_text(page(view), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be written: {error.strerror}") from error


def save_picture(view: View, file: Path) -> None:
    """Draws all parts of a view, one below the other.

    Raises:
        UsageError: matplotlib is not installed.
        DataError: the place cannot be written.
    """
    try:
        from matplotlib import font_manager, rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError("--png: needs matplotlib; install clearhead[plots]") from error
    parts = view.parts()
    heights = [part.height for part in parts]
    installed = set(font_manager.get_font_names())
    fonts = ["DejaVu Sans Mono", *(name for name in CHINESE_FONTS if name in installed)]
    figure = Figure(figsize=(10, 0.6 * len(parts) + sum(heights)), layout="constrained")
    with rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.monospace": fonts}):
        rows = figure.subplots(len(parts), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, axes in zip(parts, rows, strict=True):
            part.draw(axes)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+", UserWarning)  # without such a font they are empty boxes
            figure.savefig(file, format="png", dpi=120)
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be written: {error.strerror}") from error
