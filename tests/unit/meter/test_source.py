"""The line that is running is the program's, not PyTorch's."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clearhead.meter.source import caller


class Lines(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.note(operator(*args, **(kwargs or {})))

    def note(self, found: Any) -> Any:
        self.seen.append(caller())
        return found


def test_caller_is_the_innermost_frame_of_the_program() -> None:
    assert caller().endswith("test_caller_is_the_innermost_frame_of_the_program")
    assert "tests/unit/meter/test_source.py:" in caller()


def test_frames_of_pytorch_are_passed_over() -> None:
    layer = nn.Linear(2, 2)

    def through(x: Tensor) -> Tensor:
        return layer(x)

    import torch

    with torch.no_grad():
        names = []
        hook = layer.register_forward_hook(lambda *args: names.append(caller()))
        through(torch.ones(1, 2))
        hook.remove()
    assert names[0].endswith("<lambda>")


def test_frames_of_the_watcher_are_passed_over() -> None:
    assert "test_source.py" not in caller(str(Path(__file__).resolve().parent))
