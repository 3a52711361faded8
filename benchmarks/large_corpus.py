"""Measures host memory of training on a large corpus: writes one of N pairs, trains on it, and prints the peaks.

The text comes from the demo corpus's grammar; repeated pairs are kept, since only the size of the corpus matters.

    python benchmarks/large_corpus.py --pairs 10000000 --folder DIR
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

from clearhead.data.demo_corpus import demo_pairs


def write_corpus(folder: Path, pairs: int) -> None:
    """Writes train, valid and test files, line by line."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", pairs, 1), ("valid", 1000, 2), ("test", 1000, 3)):
        with (
            (folder / f"{split}.zh").open("w", encoding="utf-8") as zh,
            (folder / f"{split}.en").open("w", encoding="utf-8") as en,
        ):
            for source, target in demo_pairs(count, seed):
                zh.write(source + "\n")
                en.write(target + "\n")


def watch(pid: int, peaks: dict[str, int], done: threading.Event) -> None:
    """Records the largest resident and anonymous memory of a process, in KiB."""
    while not done.wait(0.2):
        try:
            status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        except OSError:
            return
        fields = dict(line.split(":", 1) for line in status.splitlines())
        for name in ("VmHWM", "RssAnon"):
            peaks[name] = max(peaks.get(name, 0), int(fields.get(name, "0 kB").split()[0]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=100)
    options = parser.parse_args()
    if not (options.folder / "test.en").exists():
        write_corpus(options.folder, options.pairs)
    recipe = [f"train.max_steps={options.steps}", "data.drop_duplicates=false", "train.evaluate_every=0"]
    sets = [word for item in recipe for word in ("--set", item)]
    run = options.folder / f"run-{int(time.time())}"
    command = [sys.executable, "-m", "clearhead", "train", "translate-tiny", "--data", str(options.folder)]
    command += ["--src", "zh", "--tgt", "en", "--out", str(run), *sets]
    started, peaks, done = time.perf_counter(), {}, threading.Event()
    process = subprocess.Popen(command)
    threading.Thread(target=watch, args=(process.pid, peaks, done), daemon=True).start()
    code = process.wait()
    done.set()
    result = {"pairs": options.pairs, "steps": options.steps, "exit": code}
    result |= {"seconds": round(time.perf_counter() - started)}
    print(json.dumps(result | {f"{name}_MB": round(value / 1024) for name, value in peaks.items()}))


if __name__ == "__main__":
    main()
