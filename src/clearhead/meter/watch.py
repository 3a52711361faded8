"""Attach, collect, detach: the outputs of chosen modules during a block of code."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from clearhead.drawing.report import amount
from clearhead.errors import ModelError


@contextmanager
def watching(
    modules: Mapping[str, nn.Module], *, most_bytes: int | None = None, first_row: bool = False
) -> Iterator[dict[str, list[Tensor]]]:
    """Collects what each module returns, by name, call by call; hooks are gone afterwards, also after an error.

    A hook on an attention's ``tap`` makes it compute its weights explicitly, [batch, heads, queries, keys].

    Args:
        modules: by name.
        most_bytes: of all that is kept; more is an error when it comes. None is no bound.
        first_row: keep the first of the batch alone.

    Raises:
        ModelError: there is more to keep than ``most_bytes``.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}
    kept = 0

    def collector(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def collect(module: nn.Module, args: object, output: Tensor) -> None:
            nonlocal kept
            found = output.detach()
            if first_row and len(found) > 1:
                found = found[:1].clone()  # a view would keep the other rows
            kept += found.nbytes
            if most_bytes is not None and kept > most_bytes:
                raise ModelError(
                    f"watching {len(modules)} modules would keep more than {amount(most_bytes)}; give a shorter text"
                )
            seen[name].append(found)

        return collect

    handles = [module.register_forward_hook(collector(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
