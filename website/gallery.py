"""The gallery: views that this build makes of a trained run, live on the page, each with its command."""

import shutil
from pathlib import Path

from clearhead.drawing.page import save_page
from clearhead.messages import Language, speaking
from clearhead.verbs.look.views import view_of
from website.language import words

TEXT = "我吃了一个苹果。"
VIEWS = {
    "attention": TEXT,
    "beam": TEXT,
    "steps": TEXT,
    "rank": TEXT,
    "norm": TEXT,
    "gradients": None,
    "memory": None,
    "activations": None,
    "schedule": None,
    "ops": None,
}
"""What is shown, each with the text that it needs."""


def gallery(run: Path | None, folder: Path, language: Language, shown: tuple[str, ...]) -> str:
    """Writes views and pictures into ``folder``/gallery, and returns the Markdown of the page that shows them.

    Args:
        run: trained translator; without one the page has the pictures of the repository alone.
        folder: of the pages in this language.
        language: of the page and of the views.
        shown: names of the views.
    """
    said, place = words(language, "gallery"), folder / "gallery"
    place.mkdir(parents=True, exist_ok=True)
    blocks = [f"# {said['title']}", said["lead" if run else "no_run"]]
    blocks += [picture(said["trace"], "trace.svg", f'clearhead trace runs/demo-001 "{TEXT}"')]
    if run is None:
        return "\n\n".join(blocks) + "\n"
    for name in shown:
        text = VIEWS[name]
        with speaking(language):
            save_page(view_of(name, run, text, checkpoint="best", device="cpu"), place / f"{name}.html")
        asked = f' "{text}"' if text else ""
        blocks.append(framed(said[name], name, said["open"], f"clearhead inspect runs/demo-001 {name}{asked}"))
    if (run / "loss.png").is_file():
        shutil.copyfile(run / "loss.png", place / "loss.png")
        blocks.append(picture(said["loss"], "gallery/loss.png", "clearhead demo"))
    return "\n\n".join(blocks) + "\n"


def picture(title: str, file: str, command: str) -> str:
    """Returns a section of a picture, its command below it."""
    return f"## {title}\n\n[![{title}]({file})]({file})\n\n```text\n{command}\n```"


def framed(title: str, name: str, opened: str, command: str) -> str:
    """Returns a section of a view in a frame, its command below it."""
    frame = f'<iframe class=view src="gallery/{name}.html" title="{title}" loading="lazy"></iframe>'
    return f"## {title}\n\n{frame}\n\n[{opened}](gallery/{name}.html)\n\n```text\n{command} --html {name}.html\n```"
