"""Private names of PyTorch that have no other way: where a version lacks one, an error in one line says so."""

import importlib
from typing import Any

import torch

from clearhead.errors import ModelError


def private(owner: Any, name: str, purpose: str) -> Any:
    """Returns the attribute ``name`` of ``owner``, an object of PyTorch's.

    Args:
        owner: what has it.
        name: private to PyTorch, so that any version may drop it.
        purpose: what cannot be had without it.

    Raises:
        ModelError: the PyTorch installed here lacks it.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise missing(name, purpose) from None


def private_in(module: str, name: str, purpose: str) -> Any:
    """Returns ``name`` from a module of PyTorch of which one of the two is private; see ``private``."""
    try:
        return private(importlib.import_module(module), name, purpose)
    except ImportError:
        raise missing(f"{module}.{name}", purpose) from None


def missing(name: str, purpose: str) -> ModelError:
    """Returns the error that says that PyTorch lacks ``name``."""
    return ModelError(
        f"{purpose}: PyTorch {torch.__version__} has no {name!r}; install a version that this clearhead knows"
    )


def base_class(module: str, name: str, purpose: str) -> Any:
    """Returns a class of PyTorch's to derive from; without it one that cannot be constructed, with the same error."""
    try:
        return private_in(module, name, purpose)
    except ModelError as error:
        return type(name, (), {"__init__": _raising(str(error))})


def _raising(message: str) -> Any:
    def refuse(self: object, *args: object, **kwargs: object) -> None:
        raise ModelError(message)

    return refuse
