"""Compares the peak memory of training steps on this machine with the forecast of ``clearhead plan``, per preset.

``python benchmarks/memory.py translate-tiny demo gpt-char`` measures each preset in two processes of its own: the peak
of resident memory, without the pages of libraries, minus what was resident before the model was built. In the first,
the allocator takes every tensor from the system and returns it (glibc's mmap), so that the peak is what the tensors
need; in the second, freed memory is kept as in training, so that fragmentation is added.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STEPS = 3


def resident() -> dict[str, int]:
    """Returns the bytes of this process now and at its peak, according to Linux; without the pages of library files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    size = {key: int(lines[key].split()[0]) * 1024 for key in ("VmHWM", "RssAnon", "RssFile")}
    return {"now": size["RssAnon"], "peak": size["VmHWM"] - size["RssFile"]}


def measure(preset: str, overrides: list[str]) -> dict[str, Any]:
    """Takes steps on the batch of the forecast; returns bytes forecast and measured."""
    from clearhead.optim.build import build_ema, build_optimizers
    from clearhead.runs.recipes import read_recipe
    from clearhead.training.arrangement import arrange
    from clearhead.training.device import keep_freed_memory
    from clearhead.training.precision import Precision
    from clearhead.verbs.example import example_of
    from clearhead.verbs.plan import Devices, plan

    tree = read_recipe(preset, overrides)
    forecast = plan(tree, preset, Devices())
    recipe, example = example_of(tree, preset, None)
    warm_up(recipe, example)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, which so far is that of making the forecast
    if os.environ["MEMORY_ONE"] == "kept":
        keep_freed_memory()
    before = resident()["now"]
    model = example.build(recipe).train()
    ema = build_ema(model, recipe.optim.ema_decay) if recipe.optim.ema_decay else None
    arrange(model, recipe.train)
    optimizers = build_optimizers(model, recipe.optim, 1e-3)
    precision = Precision(recipe.train.precision)
    seconds = 0.0
    for _ in range(STEPS):
        started = time.perf_counter()
        optimizers.zero_grad()
        for _ in range(min(recipe.train.grad_accum_steps, 2)):
            with precision.autocast():
                loss = example.loss(model, forecast.rows)
            loss.backward()
            del loss
        optimizers.step()
        if ema is not None:
            ema.update_parameters(model)
        seconds = time.perf_counter() - started
    measured = resident()["peak"] - before
    return {"preset": preset, "forecast": forecast.memory["peak"], "measured": measured, "seconds": seconds}


def warm_up(recipe: Any, example: Any) -> None:
    """Takes a step on one row, so that libraries do their one-time loading, and returns the memory to the system."""
    import ctypes
    import gc

    from clearhead.optim.build import build_optimizers

    model = example.build(recipe).train()
    optimizers = build_optimizers(model, recipe.optim, 1e-3)
    example.loss(model, 1).backward()
    optimizers.step()
    del model, optimizers
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    """Measures the presets among the arguments; ``KEY=VALUE`` arguments apply to all of them."""
    names = [word for word in sys.argv[1:] if "=" not in word]
    overrides = [word for word in sys.argv[1:] if "=" in word]
    if os.environ.get("MEMORY_ONE"):
        sys.stdout.write(json.dumps(measure(names[0], overrides)) + "\n")
        return
    for name in names:
        results = {kind: in_a_process(name, overrides, kind) for kind in ("exact", "kept")}
        forecast = results["exact"]["forecast"] / 2**20
        exact, kept = (results[kind]["measured"] / 2**20 for kind in ("exact", "kept"))
        sys.stdout.write(
            f"{name:16} forecast {forecast:7,.0f} MiB  tensors {exact:7,.0f} MiB ({forecast / exact - 1:+.1%})  "
            f"with freed memory kept {kept:7,.0f} MiB ({kept / forecast - 1:+.1%})  "
            f"{results['kept']['seconds']:.1f} s per step\n"
        )
        sys.stdout.flush()


def in_a_process(name: str, overrides: list[str], kind: str) -> dict[str, Any]:
    """Measures one preset in a process of its own; ``kind`` is exact (freed memory is returned) or kept."""
    environment = {**os.environ, "MEMORY_ONE": kind}
    if kind == "exact":
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, name, *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.splitlines()[-1]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
