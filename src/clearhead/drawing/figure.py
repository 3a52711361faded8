"""Parts of a page that a script draws from data which lies beside it, with what stands there without a script."""

import html
import json
from importlib import resources
from typing import Any

LIVE = '<figure class="live"'


def live(kind: str, title: str, data: Any, still: str) -> str:
    """Returns a figure: its data as JSON, and ``still``, HTML that a reader without the script sees.

    Args:
        kind: which of the page's drawings it is.
        title: the figure's caption and, for those who do not see it, its name.
        data: JSON values.
        still: HTML.
    """
    # "</script>" in a piece of text must not end the element
    spelled = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'{LIVE} data-kind="{kind}"><figcaption>{html.escape(title)}</figcaption>'
        f'<script type="application/json">{spelled}</script><div class="still">{still}</div></figure>'
    )


def resource(name: str) -> str:
    """Returns a file of the page's that comes with the package."""
    return (resources.files("clearhead.drawing") / name).read_text(encoding="utf-8")
