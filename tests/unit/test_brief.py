"""Short reprs: one line, whatever an object holds."""

from dataclasses import dataclass, field

import torch

from clearhead.brief import Brief, brief


@dataclass(frozen=True)
class Held(Brief):
    name: str
    numbers: list[int]
    tensor: torch.Tensor
    secret: str = field(default="", repr=False)


class Spoken(Brief):
    def __repr__(self) -> str:
        return "spoken"


@dataclass(frozen=True)
class Heir(Spoken):
    name: str = ""


def test_long_fields_are_cut() -> None:
    held = Held("a" * 1000, list(range(1000)), torch.zeros(500, 500), "s")
    text = repr(held)
    assert text.startswith("Held(name='aaaa")
    assert "numbers=[0, 1, 2, 3, ...]" in text
    assert "secret" not in text
    assert len(text) < 250
    assert "\n" not in text


def test_what_is_short_is_whole() -> None:
    assert repr(Held("a", [1], torch.tensor(1))) == "Held(name='a', numbers=[1], tensor=tensor(1))"
    assert brief({"a": [1, 2]}) == "{'a': [1, 2]}"


def test_a_class_below_keeps_what_the_one_above_says() -> None:
    assert repr(Heir("a")) == "spoken"
