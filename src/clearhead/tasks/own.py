"""Code of somebody's own in a model: given from Python, named in the run by the path that it is imported by."""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar, cast

from torch import nn

from clearhead.brief import Brief
from clearhead.config import Tree, as_tree
from clearhead.errors import ModelError, UsageError, nearest
from clearhead.models.gpt import GPT
from clearhead.models.rnn import RNNLanguageModel, RNNTranslator
from clearhead.nn.norm import norms_of
from clearhead.nn.own import BASES, Slot, replace_parts

M = TypeVar("M", bound=nn.Module)
Code = Callable[..., Any]
ALLOWED = "CLEARHEAD_MODULES"
"""Environment variable: packages, with commas between, that may be imported since a run names them."""
_GIVEN: ContextVar[Mapping[str, Code]] = ContextVar("code that was given to this call", default=MappingProxyType({}))


@dataclass(frozen=True)
class OwnConfig:
    """Paths of code in place of ours, ``package.module:Name``, as ``clearhead.train`` has written them."""

    model: str = ""
    """Of what builds the model; empty is ours."""
    norm: str = ""
    """Of the class of its norms; empty is ours."""
    mlp: str = ""
    """Of the class of its feed-forward networks; empty is ours."""
    attention: str = ""
    """Of the class of its attention functions; empty is ours."""

    @property
    def paths(self) -> dict[str, str]:
        """The paths, by what they replace."""
        return {name: path for name, path in as_tree(self).items() if path}

    def __str__(self) -> str:
        return ", ".join(f"own.{name} = {path!r}" for name, path in self.paths.items())

    def warnings(self) -> list[str]:
        """Returns lines for who trains with it."""
        return [
            f"warning: {self}: the run keeps the name of this code, not the code: it can be loaded and go on only "
            "where that is, cannot be exported, and PyTorch computes it"
        ]

    def inherited(self, *, by_another: bool = False) -> Tree:
        """Returns the key ``own`` of a recipe that starts from such a model.

        Args:
            by_another: whether that is for another task, whose model has another class.

        Raises:
            ModelError: it is, and this model has a class of its own.
        """
        if by_another and self.model:
            raise ModelError(f"own.model = {self.model!r}: trained further for its own task only")
        return {"own": self.paths}


@dataclass(frozen=True)
class OwnModelConfig(Brief):
    """What a model of somebody's own is built from; its sizes can be read from it directly, as ``config.d_model``."""

    model: Any
    """The recipe's config of the model, as ``GPTConfig``."""
    settings: Mapping[str, Any]
    """What ours takes besides, by name: ``GPT(config.model, **config.settings)`` builds it."""

    def __getattr__(self, name: str) -> Any:
        if name in ("model", "settings"):  # of a copy that is not filled yet
            raise AttributeError(name)
        return self.settings[name] if name in self.settings else getattr(self.model, name)


@contextlib.contextmanager
def given(model: Code | None, modules: Mapping[str, Code]) -> Iterator[Tree]:
    """Lets models be built with code while the block runs; yields a recipe's key ``own`` that names it, or nothing.

    Args:
        model: builds the model from an ``OwnModelConfig``.
        modules: classes by what they replace.

    Raises:
        UsageError: there is no such part, or the code cannot be one.
    """
    code = dict(modules) | ({"model": model} if model is not None else {})
    for name in modules:
        if name not in BASES:
            raise UsageError(f"modules[{name!r}]: must be one of {', '.join(BASES)}{nearest(name, BASES)}")
        _check_part(f"modules[{name!r}] = {_shown(code[name])}", name, code[name])
    paths = {name: _path_of(name, one) for name, one in code.items()}
    token = _GIVEN.set({path: code[name] for name, path in paths.items()})
    try:
        yield {"own": paths} if paths else {}
    finally:
        _GIVEN.reset(token)


def with_own(own: OwnConfig | None, ours: type[M], config: Any, **settings: Any) -> M:
    """Builds a model with what ``own`` names in it.

    Args:
        own: code in place of ours; None: none.
        ours: the class of the model; one of somebody's own is derived from it.
        config: the recipe's config of the model.
        settings: further arguments of the class.

    Raises:
        ModelError: the code is not here.
        UsageError: it does not build what it is to replace.
    """
    if own is None:
        return ours(config, **settings)
    if issubclass(ours, RNNLanguageModel | RNNTranslator):
        raise UsageError(f"{own}: a part of one's own is for Transformers, not for recurrent models")
    model = _built(own.model, ours, OwnModelConfig(config, settings)) if own.model else ours(config, **settings)
    for slot in BASES:
        if path := own.paths.get(slot):
            what, code = f"own.{slot} = {path!r}", found(slot, path)
            _check_part(what, slot, code)
            replace_parts(model, slot, functools.partial(_made, what, code))
    if issubclass(ours, GPT) and not all(norm.position_wise for norm in norms_of(model)):
        raise UsageError(f"{own}: a norm that looks at other positions; a GPT could not use its cache")
    return model


def found(name: str, path: str) -> Code:
    """Finds code of a run: what was given to this call, or what stands in a module that is loaded or may be.

    Raises:
        ModelError: it is not here, or may not be imported since only the run asks for it.
    """
    if (code := _GIVEN.get().get(path)) is not None:
        return code
    what = f"own.{name} = {path!r}"
    module, _, inside = path.partition(":")
    if "<" in path:
        raise ModelError(
            f"{what}: it has no name to import it by: give it to clearhead.train again, to go on training; a run "
            "that is to be loaded needs a function or class at the top of a module"
        )
    package = module.partition(".")[0]
    if package in sys.stdlib_module_names:
        raise ModelError(f"{what}: no code of a run's own stands in Python's library")
    allowed = package in os.environ.get(ALLOWED, "").split(",")
    if module not in sys.modules and not allowed:
        raise ModelError(
            f"{what}: code that the run was trained with; a run alone makes nothing be imported: import {module} "
            f"first, or set {ALLOWED}={package}"
        )
    try:
        named: Any = functools.reduce(getattr, inside.split("."), importlib.import_module(module))
    except AttributeError as error:
        raise ModelError(f"{what}: {module} has no {inside}") from error
    except ImportError as error:
        raise ModelError(f"{what}: cannot be imported ({error})") from error
    return cast(Code, named)


def check_ours(recipe: Any) -> None:
    """Raises ModelError if a recipe names code of somebody's own, which no format can hold."""
    if (own := getattr(recipe, "own", None)) is not None:
        raise ModelError(f"{own}: code of one's own, which no format can hold")


def _built(path: str, ours: type[M], config: OwnModelConfig) -> M:
    model = found("model", path)(config)
    if not isinstance(model, ours):
        kind = type(model).__name__
        raise UsageError(f"own.model = {path!r}: must build a {ours.__name__} or one derived from it, not a {kind}")
    return model


def _made(what: str, code: Code, *sizes: int, **settings: Any) -> nn.Module:
    try:
        part: nn.Module = code(*sizes, **settings)
    except TypeError as error:
        words = ", ".join([*map(str, sizes), *(f"{name}={value}" for name, value in settings.items())])
        raise UsageError(f"{what}: cannot be built by ({words}): {error}") from error
    return part


def _check_part(what: str, slot: Slot, code: object) -> None:
    base = BASES[slot]
    if not (isinstance(code, type) and issubclass(code, base)):
        raise UsageError(f"{what}: must be a class derived from {base.__module__}.{base.__qualname__}")


def _path_of(name: str, code: Any) -> str:
    module, inside = getattr(code, "__module__", None), getattr(code, "__qualname__", None)
    if not (callable(code) and isinstance(module, str) and isinstance(inside, str)):
        raise UsageError(f"{name} = {_shown(code)}: must be a function or a class")
    return f"{module}:{inside}"


def _shown(code: object) -> str:
    return getattr(code, "__qualname__", None) or repr(code)
