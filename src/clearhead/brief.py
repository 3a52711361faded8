"""Short reprs of objects that hold much: tensors, hypotheses, every step of a search."""

import dataclasses
import reprlib
from typing import Any

_short = reprlib.Repr()
_short.maxlevel, _short.maxstring, _short.maxother = 2, 60, 60
_short.maxlist, _short.maxtuple, _short.maxdict = 4, 4, 3


def brief(value: object) -> str:
    """Returns the repr of a value on one line, with its long parts cut."""
    return " ".join(_short.repr(value).split())


class Brief:
    """Gives the dataclasses that inherit it a repr of one short line, in place of that of ``dataclass``."""

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "__repr__" not in cls.__dict__:
            # what the class itself has, dataclass leaves alone
            cls.__repr__ = next(base.__dict__["__repr__"] for base in cls.__mro__ if "__repr__" in base.__dict__)  # type: ignore[method-assign]

    def __repr__(self) -> str:
        fields = [field.name for field in dataclasses.fields(self) if field.repr]  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(f'{name}={brief(getattr(self, name))}' for name in fields)})"
