"""Attach, collect, detach: the outputs of chosen modules during a block of code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def watching(modules: Mapping[str, nn.Module]) -> Iterator[dict[str, list[Tensor]]]:
    """Collects what each module returns, by name, call by call; hooks are gone afterwards, also after an error.

    A hook on an attention's ``tap`` makes it compute its weights explicitly, [batch, heads, queries, keys].
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}

    def collector(name: str):  # type: ignore[no-untyped-def]
        def collect(module: nn.Module, args: object, output: Tensor) -> None:
            seen[name].append(output.detach())

        return collect

    handles = [module.register_forward_hook(collector(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
