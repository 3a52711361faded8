"""Collects the outputs of chosen modules during a block of code, by hooks that are removed afterwards."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn

from clearhead.drawing.report import amount
from clearhead.errors import ModelError


@contextmanager
def watching(
    modules: Mapping[str, nn.Module], *, most_bytes: int | None = None, first_row: bool = False
) -> Iterator[dict[str, list[Tensor]]]:
    """Collects what each module returns, by name, call by call; hooks are removed afterwards, also after an error.

    A hook on an attention's ``tap`` makes it compute its weights explicitly, [batch, heads, queries, keys].

    Args:
        modules: by name.
        most_bytes: limit on all outputs together; None is no limit.
        first_row: keep only the first row of the batch.

    Raises:
        ModelError: the outputs take more than ``most_bytes``.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}
    kept = 0

    def collector(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def collect(module: nn.Module, args: object, output: Tensor) -> None:
            nonlocal kept
            kept_output = output.detach()
            if first_row and len(kept_output) > 1:
                kept_output = kept_output[:1].clone()  # a view would hold the other rows in memory
            kept += kept_output.nbytes
            if most_bytes is not None and kept > most_bytes:
                raise ModelError(
                    f"watching {len(modules)} modules would keep more than {amount(most_bytes)}; give a shorter text"
                )
            seen[name].append(kept_output)

        return collect

    handles = [module.register_forward_hook(collector(name)) for name, module in modules.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
