"""``clearhead serve``: an HTTP server of trained models."""

import importlib.util
import json
from pathlib import Path
from typing import Annotated, Any

import click
from annotated_types import Interval

from clearhead.cli.options import ranged, say
from clearhead.errors import UsageError

DIALECTS = ("openai", "libretranslate", "deepl")
NEEDED = ("starlette", "uvicorn", "h11")


def _whole(low: int, high: int) -> Any:
    return ranged(Annotated[int, Interval(ge=low, le=high)])


def _seconds(low: float, high: float) -> Any:
    return ranged(Annotated[float, Interval(ge=low, le=high)])


@click.command("serve")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=_whole(0, 65535), default=8400, show_default=True, help="0: a free one.")
@click.option(
    "--api-key", type=click.Path(path_type=Path), metavar="FILE", help="Keys, one a line; others are refused."
)
@click.option("--open", "is_open", is_flag=True, help="Let others than this machine ask without a key.")
@click.option("--allow-host", multiple=True, metavar="NAME", help="A name of this server; may be repeated.")
@click.option("--allow-origin", multiple=True, metavar="URL", help="Pages from there may ask; may be repeated.")
@click.option(
    "--max-body",
    type=_whole(1024, 1 << 30),
    default=131_072,
    show_default=True,
    help="Most bytes of a request.",
)
@click.option(
    "--max-pieces",
    type=_whole(1, 1 << 30),
    default=16_384,
    show_default=True,
    help="Most pieces of a request's texts.",
)
@click.option(
    "--queue",
    type=_whole(1, 1 << 20),
    default=256,
    show_default=True,
    help="Requests that may wait; one more gets 429.",
)
@click.option(
    "--rows",
    type=_whole(1, 1 << 16),
    default=256,
    show_default=True,
    help="Hypotheses and texts that are stepped together.",
)
@click.option(
    "--timeout",
    type=_seconds(0.1, 86_400.0),
    default=60.0,
    show_default=True,
    help="Seconds that a request may wait, and then take.",
)
@click.option(
    "--receive-deadline",
    type=_seconds(0.1, 3600.0),
    default=10.0,
    show_default=True,
    help="Seconds that a client has to send a request.",
)
@click.option(
    "--graceful",
    type=_seconds(0.0, 3600.0),
    default=20.0,
    show_default=True,
    help="Seconds that running requests have once a signal ends the server.",
)
@click.option(
    "--key-limit", type=_whole(1, 1 << 20), default=32, show_default=True, help="Requests at once with one key."
)
@click.option("--threads", type=_whole(0, 1024), default=0, help="Threads that compute.  [default: one a core]")
@click.option(
    "--reload", is_flag=True, help="Serve a run's better checkpoint as soon as it is there; SIGHUP looks at once."
)
@click.option("--files", is_flag=True, help="Translate files for clients of LibreTranslate.")
@click.option("--no-page", is_flag=True, help="No page for people.")
@click.option("--dialects", default=",".join(DIALECTS), show_default=True, help="What clients speak.")
@click.option(
    "--weights",
    type=click.Choice(["float32", "bfloat16", "int8", "int4"]),
    default="float32",
    show_default=True,
    help="As the CPU holds them.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the address and the models as JSON, once they are loaded.")
def command(runs: tuple[str, ...], **options: Any) -> None:
    """Serve the models RUN..., each a run directory or a file of `clearhead export --to file`, by HTTP.

    Clients of OpenAI, LibreTranslate and DeepL speak to it as they are; its page shows the model at work. A model has
    the name of its directory; NAME=RUN gives it another. Ctrl-C lets running requests end.

    \b
    clearhead serve runs/zh-en
    clearhead serve zh-en=runs/demo-001 gpt.clearhead --port 0
    clearhead serve runs/zh-en --host 0.0.0.0 --api-key keys.txt --reload
    """
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise UsageError(f"serve needs {', '.join(missing)}: pip install 'clearhead[serve]'")
    from clearhead.serve.process import quiet_uvicorn, serve
    from clearhead.serve.settings import ServeSettings

    as_json, dialects = options.pop("as_json"), _dialects(options.pop("dialects"))
    settings = ServeSettings(open=options.pop("is_open"), page=not options.pop("no_page"), dialects=dialects, **options)

    def on_ready(url: str) -> None:
        if as_json:
            say(json.dumps({"url": url, "models": list(runs)}, ensure_ascii=False), err=False)
        else:
            say(f"serving at {url}")

    quiet_uvicorn()
    serve(runs, settings, say, on_ready)


def _dialects(given: str) -> Any:
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if wrong := [name for name in names if name not in DIALECTS]:
        raise UsageError(f"--dialects {given!r}: {wrong[0]!r} must be one of {', '.join(DIALECTS)}")
    return names
