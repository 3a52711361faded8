"""Seeds a process's random generators, saves their states as JSON values, and restores them."""

import base64
import random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clearhead.errors import ModelError


def seed_generators(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch, on all devices; ``seed`` has at most 64 bits.

    clearhead draws from torch's alone; the others are for users' own modules and losses.
    """
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # NumPy's global generator takes words of 32 bits
    torch.manual_seed(seed)


def generator_states() -> dict[str, Any]:
    """Returns the states of the generators of Python, NumPy, torch, and each device that torch has used.

    clearhead's own draws depend only on (seed, step), (seed, epoch) or (seed, epoch, row); the states are saved for
    users' own modules and losses, which may draw from any of these generators.
    """
    version, words, gauss = random.getstate()
    numpy = np.random.get_state(legacy=False)
    assert isinstance(numpy, dict)
    states: dict[str, Any] = {
        "python": [version, _text(np.array(words, np.uint64)), gauss],
        "numpy": {**numpy, "state": {**numpy["state"], "key": _text(numpy["state"]["key"])}},
        "torch": _of_tensor(torch.get_rng_state()),
    }
    states["numpy"]["state"]["pos"] = int(numpy["state"]["pos"])
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states["cuda"] = [_of_tensor(state) for state in torch.cuda.get_rng_state_all()]
    if torch.backends.mps.is_available():
        states["mps"] = _of_tensor(torch.mps.get_rng_state())
    return states


def restore_generators(states: dict[str, Any]) -> None:
    """Restores the result of ``generator_states``; states of devices that this machine lacks are ignored.

    Raises:
        ModelError: ``states`` does not have the form that ``generator_states`` returns.
    """
    try:
        version, words, gauss = states["python"]
        random.setstate((version, tuple(_array(words, np.uint64).tolist()), gauss))
        numpy = states["numpy"]
        key = _array(numpy["state"]["key"], np.uint32)
        np.random.set_state({**numpy, "state": {**numpy["state"], "key": key}})
        torch.set_rng_state(_tensor(states["torch"]))
        if torch.cuda.is_available():
            for index, state in enumerate(states.get("cuda", [])[: torch.cuda.device_count()]):
                torch.cuda.set_rng_state(_tensor(state), index)
        if torch.backends.mps.is_available() and "mps" in states:
            torch.mps.set_rng_state(_tensor(states["mps"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"the states of random generators in a checkpoint cannot be used: {error}") from error


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _array(text: str, kind: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(base64.b64decode(text, validate=True), kind)


def _of_tensor(state: Tensor) -> str:
    return _text(state.cpu().numpy())


def _tensor(text: str) -> Tensor:
    return torch.from_numpy(_array(text, np.uint8).copy())
