"""The settings of sampling load no torch, and are reached by the names that they had before."""

import subprocess
import sys

import clearhead
from clearhead.decode import sampling as torch_sampling
from clearhead.engine.loops.sampling import SamplingConfig, uniform_of


def test_they_and_the_native_loop_load_no_torch() -> None:
    code = """
import sys, clearhead, clearhead.engine.loops.generation
clearhead.SamplingConfig()
print('torch' in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_other_names_for_them() -> None:
    assert clearhead.SamplingConfig is torch_sampling.SamplingConfig is SamplingConfig
    assert torch_sampling.uniform_of is uniform_of


def test_a_number_is_a_function_of_its_place() -> None:
    assert uniform_of(1, 2, 3) == uniform_of(1, 2, 3)
    assert (
        len(
            {uniform_of(*place) for place in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))}
            | {uniform_of(0, 0, 0, stream=1)}
        )
        == 5
    )
