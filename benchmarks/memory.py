"""Peak memory of training steps on this machine beside what ``clearhead plan`` forecasts, preset by preset.

``python benchmarks/memory.py translate-tiny demo gpt-char`` measures each in processes of its own: what the system
counts as resident at the peak, without the pages of libraries, less what was there before the model was built. Once
with an allocator that takes every tensor from the system and gives it back (glibc's mmap), which is what the tensors
need; and once as a training has it, with freed memory kept, whose holes come on top.
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
    """Bytes of this process now and at its highest, from Linux; without the pages of libraries, which are files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    size = {key: int(lines[key].split()[0]) * 1024 for key in ("VmHWM", "RssAnon", "RssFile")}
    return {"now": size["RssAnon"], "peak": size["VmHWM"] - size["RssFile"]}


def measure(preset: str, overrides: list[str]) -> dict[str, Any]:
    """Takes steps on the batch that the forecast is of, and returns bytes."""
    from clearhead.optim.build import build_ema, build_optimizers
    from clearhead.runs.recipes import read_recipe
    from clearhead.training.arrangement import arrange
    from clearhead.training.device import keep_freed_memory
    from clearhead.training.precision import Precision
    from clearhead.verbs.example import example_of
    from clearhead.verbs.plan import Devices, plan

    tree = read_recipe(preset, overrides)
    found = plan(tree, preset, Devices())
    recipe, example = example_of(tree, preset, None)
    warm_up(recipe, example)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is that of the forecast
    if os.environ["MEMORY_ONE"] == "kept":
        keep_freed_memory()
    before = resident()["now"]
    model = example.build().train()
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
                loss = example.loss(model, found.rows)
            loss.backward()
            del loss
        optimizers.step()
        if ema is not None:
            ema.update_parameters(model)
        seconds = time.perf_counter() - started
    measured = resident()["peak"] - before
    return {"preset": preset, "forecast": found.memory["peak"], "measured": measured, "seconds": seconds}


def warm_up(recipe: Any, example: Any) -> None:
    """Takes a step on one row, so that libraries load what they load once, and gives the memory back."""
    import ctypes
    import gc

    from clearhead.optim.build import build_optimizers

    model = example.build().train()
    optimizers = build_optimizers(model, recipe.optim, 1e-3)
    example.loss(model, 1).backward()
    optimizers.step()
    del model, optimizers
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def main() -> None:
    """Measures every preset that is named; ``KEY=VALUE`` arguments are for all of them."""
    names = [word for word in sys.argv[1:] if "=" not in word]
    overrides = [word for word in sys.argv[1:] if "=" in word]
    if os.environ.get("MEMORY_ONE"):
        sys.stdout.write(json.dumps(measure(names[0], overrides)) + "\n")
        return
    for name in names:
        found = {kind: in_a_process(name, overrides, kind) for kind in ("exact", "kept")}
        forecast = found["exact"]["forecast"] / 2**20
        exact, kept = (found[kind]["measured"] / 2**20 for kind in ("exact", "kept"))
        sys.stdout.write(
            f"{name:16} forecast {forecast:7,.0f} MiB  tensors {exact:7,.0f} MiB ({forecast / exact - 1:+.1%})  "
            f"with freed memory kept {kept:7,.0f} MiB ({kept / forecast - 1:+.1%})  "
            f"{found['kept']['seconds']:.1f} s a step\n"
        )
        sys.stdout.flush()


def in_a_process(name: str, overrides: list[str], kind: str) -> dict[str, Any]:
    """Measures one preset; ``kind`` is exact or kept."""
    environment = {**os.environ, "MEMORY_ONE": kind}
    if kind == "exact":
        environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    command = [sys.executable, __file__, name, *overrides]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.splitlines()[-1]}")
    one: dict[str, Any] = json.loads(done.stdout)
    return one


if __name__ == "__main__":
    main()
