"""Measures what is left of the native engine's speed at batch 1 beside one foreign process on every core.

``python benchmarks/busy.py`` decodes one text, quiet and busy in turn, with one thread and with two, at the shape of
GPT-2 124M (``--layers`` makes it smaller), and says how many bytes of weights that reads each second; the read of a
gigabyte by as many threads stands beside it.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

VOCAB, CONTEXT = 50257, 1024


@contextmanager
def neighbours() -> Iterator[int]:
    """Starts a foreign job, a process for each core that computes for ever; yields its group, stopped at first."""
    program = (
        f"import os\nfor core in {sorted(os.sched_getaffinity(0))[1:]}:\n if not os.fork(): break\nwhile True: pass"
    )
    job = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    time.sleep(0.5)
    os.killpg(job.pid, signal.SIGSTOP)
    try:
        yield job.pid
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def engine(weights: str, layers: int):
    """Packs a model of random weights; returns it and the bytes that a step reads."""
    import torch

    from clearhead.engine.choose import choose
    from clearhead.models.gpt import GPT, GPTConfig
    from clearhead.nn.layer import BlockConfig

    block = BlockConfig(activation="gelu_tanh", bias="all")
    sizes = {"d_model": 768, "d_ff": 3072, "n_heads": 12, "n_layers": layers, "max_seq_len": CONTEXT}
    torch.manual_seed(0)
    model = GPT(GPTConfig(**sizes, dropout=0.0, position="learned", block=block), vocab_size=VOCAB).eval()
    read = (12 * layers * 768 * 768 + VOCAB * 768) * (4 if weights == "float32" else 1)
    return choose(model, weights, "native").prepare(), read


def decode(rows, seconds: float) -> float:
    """Writes pieces for some time; returns pieces a second."""
    one, count, start = np.array([1], dtype=np.int32), 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        if rows.lengths[0] >= 128:  # short enough that the weights are most of what is read
            rows.back(np.array([96], dtype=np.int32))
        rows.extend(np.array([count % VOCAB], dtype=np.int32), one)
        count += 1
    return count / (time.perf_counter() - start)


def read_speed(threads: int, gigabytes: float = 1.0) -> float:
    """Returns bytes a second that threads read together, the best of five."""
    parts = np.ones((threads, int(gigabytes * 2**30 / 8 / threads)))
    best = 0.0
    for _ in range(5):
        readers = [threading.Thread(target=part.sum) for part in parts]  # numpy computes without Python's lock
        start = time.perf_counter()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        best = max(best, parts.nbytes / (time.perf_counter() - start))
    return best


def measure(model, read: int, threads: int, args: argparse.Namespace) -> list[str]:
    """Returns the cells of one line."""
    rows = model.rows(threads)
    rows.join_empty(1)
    rows.extend(np.arange(32, dtype=np.int32), np.array([32], dtype=np.int32))
    quiet, busy, memory = [], [], []
    with neighbours() as job:
        for _ in range(args.rounds):
            quiet.append(decode(rows, args.seconds))
            memory.append(read_speed(threads))
            os.killpg(job, signal.SIGCONT)
            busy.append(decode(rows, args.seconds))
            os.killpg(job, signal.SIGSTOP)
    speed, rate = max(quiet) * read, max(memory)
    usual, beside = float(np.median(quiet)), float(np.median(busy))
    share = f"{speed / 1e9:.1f} ({speed / rate:.0%} of {rate / 1e9:.1f})"
    return [str(threads), f"{usual:.1f}", share, f"{beside:.1f}", f"{beside / usual:.0%}"]


def main() -> None:
    """Prints a line for each kind of weights and number of threads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", nargs="+", default=["float32", "int8"])
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    args = parser.parse_args()
    columns = ["weights", "threads", "quiet, pieces/s", "GB/s (of a read)", "busy, pieces/s", "kept"]
    print(" | ".join(["", *columns, ""]).strip(), "|" + "---|" * len(columns), sep="\n")
    for weights in args.weights:
        model, read = engine(weights, args.layers)
        for threads in (1, 2):
            print(" | ".join(["", weights, *measure(model, read, threads, args), ""]).strip(), flush=True)


if __name__ == "__main__":
    main()
