"""The models of a server: loaded without PyTorch where that can be, by name, and replaced while they are served."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from clearhead.engine.weights.file import about_model, is_model_file
from clearhead.errors import UsageError
from clearhead.runs.recipes import load_recipe
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.service import Service
from clearhead.tasks.packed import kept_path
from clearhead.tasks.translation.corpora.directions import distinct
from clearhead.verbs.quick import (
    Where,
    open_classifier,
    open_language_model,
    open_masked_model,
    open_translator,
)

Kind = Literal["translator", "writer", "encoder", "classifier"]
"""What a model does."""
KINDS: dict[str, Kind] = {
    "translation": "translator",
    "rnn_translation": "translator",
    "language_model": "writer",
    "rnn_language_model": "writer",
    "ngram": "writer",
    "masked": "encoder",
    "classify": "classifier",
}
"""What serves a recipe's task."""
COUNTED = ("ngram",)
"""Tasks whose models are counts: there is nothing inside to look at."""
Way = tuple[str, str]
"""Source and target language, as codes."""
OPENS: dict[Kind, Callable[..., Any]] = {
    "translator": open_translator,
    "writer": open_language_model,
    "encoder": open_masked_model,
    "classifier": open_classifier,
}
PACK = "import json, sys; from clearhead.serve.models import pack; pack(*json.loads(sys.argv[1]))"


@dataclass(frozen=True)
class Version:
    """A checkpoint that is loaded."""

    model: Any
    step: int
    stamp: object
    """Another one where the run has changed since."""
    created: int = field(default_factory=lambda: int(time.time()))
    """When it was loaded, in seconds since 1970."""

    @property
    def label(self) -> str:
        """What answers name it by."""
        return f"step-{self.step}"


class Served:
    """A model under its name.

    Args:
        name: that clients ask for.
        path: of the run or file.
        settings: of the server.
        service: that computes.
        way: source and target language, of a translator of several directions.
        opened: what the other directions of it have opened already.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        settings: ServeSettings,
        service: Service,
        way: Way | None = None,
        opened: "_Opened | None" = None,
    ) -> None:
        self.name, self.path, self._service, self.way = name, path, service, way
        self._opened = opened or _Opened()
        self._where = Where(checkpoint="best", device="auto", weights=settings.weights, engine="auto")
        task = task_of(path)
        self.kind, self.has_inside = KINDS[task], task not in COUNTED
        self.version: Version | None = None
        self._refused: object = None

    @property
    def now(self) -> Version:
        """The checkpoint that is served."""
        if self.version is None:
            raise RequestError(503, "the model is being loaded", code="loading", headers={"Retry-After": "1"})
        return self.version

    def stamp(self) -> object:
        """Returns what changes with the model."""
        if is_model_file(self.path):
            state = self.path.stat()
            return state.st_ino, state.st_size, state.st_mtime_ns
        return self._kept()

    def load(self) -> None:
        """Loads it, tries it once, and puts it in the place of the one before.

        Raises:
            ClearheadError: it cannot be loaded; the one before stays.
        """
        stamp = self.stamp()
        if self._opened.model is None or self._opened.stamp != stamp:
            self._opened.model, self._opened.stamp = self._open(), stamp
        model = self.going(self._opened.model)
        self._warm_up(model)
        self.version = Version(model, model.step, stamp)

    def reload(self) -> str | None:
        """Loads it again if it has changed. Returns what to say of it: None where nothing has."""
        try:
            stamp = self.stamp()
        except OSError as error:
            stamp = str(error)
        if self.version is None or stamp in (self.version.stamp, self._refused):
            return None
        before = self.version.label
        try:
            self.load()
        except Exception as error:
            self._refused = stamp
            return f"model {self.name!r}: {before} stays, since what has come is not served: {error}"
        self._refused = None
        return f"model {self.name!r}: {self.now.label} in place of {before}"

    def going(self, model: Any) -> Any:
        """Returns a translator for the direction that is served, any other model as it is."""
        return model if self.way is None else model.toward(self.way[1], self.way[0])

    def _kept(self) -> Path | None:
        """Returns where the packed weights of the run's checkpoint are, or would be, kept."""
        return kept_path(self.path, self._where["checkpoint"], self._where["weights"])

    def _open(self) -> Any:
        if not is_model_file(self.path) and ((kept := self._kept()) is None or not kept.is_file()):
            _pack_aside(self.path, self._where)
        return OPENS[self.kind](self.path, **self._where)

    def _warm_up(self, model: Any) -> None:
        """Computes one text, so that a model that cannot compute is never served."""
        match self.kind:
            case "translator":
                model.translate("a", beam=1, limit=2)
            case "writer":
                from clearhead.tasks.language_model.prompts import GenerationConfig

                model.generate("a", GenerationConfig(max_new=2))
            case "encoder":
                model.embed("a")
            case "classifier":
                model.classify(("a", "a") if model.labels.pairs else "a")


@dataclass
class _Opened:
    """A model that several directions share."""

    model: Any = None
    stamp: object = None


def ways_of(path: Path) -> list[Way]:
    """Returns the directions of a translator that has several, as codes of languages; none of any other model."""
    if is_model_file(path):
        return [(tree["src"]["code"], tree["tgt"]["code"]) for tree in about_model(path).get("directions", ())]
    data = load_recipe(path).get("data", {})
    corpora = data.get("corpora", ()) if isinstance(data, dict) else ()
    ways = list(distinct((each["src"], each["tgt"]) for each in corpora if "src" in each))
    return ways if len(ways) > 1 else []


def task_of(path: Path) -> str:
    """Returns the task of a run or file.

    Raises:
        ModelError: it is none.
        UsageError: its task is not served.
    """
    task = about_model(path)["task"] if is_model_file(path) else load_recipe(path).get("task", "translation")
    if task not in KINDS:
        raise UsageError(f"{str(path)!r}: task = {task!r} is not served")
    return str(task)


def pack(run: str, where: Where) -> None:
    """Loads a run by PyTorch, so that its packed weights are kept; in a process of its own."""
    path = Path(run)
    OPENS[KINDS[task_of(path)]](path, **where).computed  # noqa: B018 - which packs


def _pack_aside(run: Path, where: Where) -> None:
    """Packs a run in another process: PyTorch's memory goes with it. What fails there will fail here, and say why."""
    words = [sys.executable, "-c", PACK, json.dumps([str(run), where])]
    subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)


class Models:
    """All models of a server, by name.

    Args:
        paths: runs or files, each as ``NAME=PATH`` or as a path, whose last part is then its name.
        settings: of the server.
        service: that computes.

    Raises:
        UsageError: two have one name, or one has none of the dialects that are asked for.
        ModelError: one is no model.
    """

    def __init__(self, paths: Sequence[str], settings: ServeSettings, service: Service) -> None:
        self._models: dict[str, Served] = {}
        for given in paths:
            name, path = named(given)
            for each in _served(name, path, settings, service):
                if each.name in self._models:
                    raise UsageError(f"two models of the name {each.name!r}: give one another by NAME=PATH")
                self._models[each.name] = each
        for each in self:
            _check_dialects(each, settings)

    def __iter__(self) -> Iterator[Served]:
        return iter(self._models.values())

    @property
    def are_ready(self) -> bool:
        """Whether all are loaded."""
        return all(each.version for each in self)

    def get(self, name: str) -> Served:
        """Returns the model of a name; raises RequestError (404) if there is none."""
        if name not in self._models:
            raise RequestError(
                404, f"model {name[:60]!r}: there is none of this name", param="model", code="model_not_found"
            )
        return self._models[name]

    def of(self, *kinds: Kind) -> list[Served]:
        """Returns the models of some kinds."""
        return [each for each in self if each.kind in kinds]


def _served(name: str, path: Path, settings: ServeSettings, service: Service) -> list[Served]:
    """Returns a model; of a translator of several directions one for each, as ``NAME:en-de``, with the same weights."""
    first = Served(name, path, settings, service)
    ways, opened = ways_of(path) if first.kind == "translator" else [], _Opened()
    each = [Served(f"{name}:{way[0]}-{way[1]}", path, settings, service, way, opened) for way in ways]
    return each or [first]


def named(given: str) -> tuple[str, Path]:
    """Returns the name and path of ``NAME=PATH`` or ``PATH``."""
    name, sign, path = given.partition("=")
    if not sign or "/" in name or Path(given).exists():
        name, path = "", given
    where = Path(path)
    name = name or (where.name.removesuffix(".clearhead") or where.resolve().name)
    if not name.isprintable() or len(name) > 100:
        raise UsageError(f"the name {name[:60]!r}: must have at most 100 characters that can be printed")
    return name, where


SERVING: dict[Kind, tuple[str, ...]] = {
    "translator": ("openai", "libretranslate", "deepl"),
    "writer": ("openai",),
    "encoder": ("openai",),
    "classifier": (),
}
"""Which dialects speak of a kind of model; the native one, which the page uses, speaks of all."""
VERBS: dict[Kind, str] = {
    "translator": "translate",
    "writer": "generate",
    "encoder": "fill and embed",
    "classifier": "classify",
}


def _check_dialects(served: Served, settings: ServeSettings) -> None:
    if settings.page or set(SERVING[served.kind]) & set(settings.dialects):
        return
    speaking = ", ".join(SERVING[served.kind]) or "none but the page"
    raise UsageError(
        f"model {served.name!r}: none of the dialects {', '.join(settings.dialects)} serves it ({speaking} does); "
        f"clearhead {VERBS[served.kind]} is the verb for it"
    )
