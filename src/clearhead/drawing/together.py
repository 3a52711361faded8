"""Several views as one view, for a page that shows a run from all sides."""

from dataclasses import dataclass
from typing import Any

from clearhead.drawing.report import Note, Part, Title, View
from clearhead.drawing.wording import worded


@dataclass(frozen=True)
class Together(View):
    """A view of several views, one below the other."""

    name: str
    views: dict[str, View]
    missing: dict[str, str]
    """Views that could not be made, each with the reason."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return self.name

    def parts(self) -> list[Part]:
        """See ``View``."""
        parts: list[Part] = [part for view in self.views.values() for part in (Title(view.title, True), *view.parts())]
        return parts + [Note(f"{name}: {reason}") for name, reason in self.missing.items()]

    def as_dict(self) -> dict[str, Any]:
        """See ``View``."""
        return {name: view.as_dict() for name, view in self.views.items()} | {"missing": self.missing}

    def html(self) -> str:
        """See ``View``."""
        links = "".join(f'<a href="#{name}">{name}</a>' for name in self.views)
        body = "".join(f'<div id="{name}">{view.html()}</div>' for name, view in self.views.items())
        missing = "".join(f"<p>{worded(f'{name}: {reason}')}</p>" for name, reason in self.missing.items())
        return f"<h1>{worded(self.name)}</h1><nav>{links}</nav>{body}{missing}"
