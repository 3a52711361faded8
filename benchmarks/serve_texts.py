"""Measures how fast clients of `clearhead serve` get texts of a GPT, beside those of llama.cpp's server.

Both serve GPT-2's smallest shape with the same random weights (see generate.py), in float32 and as int8 and Q8_0. Each
of 32 clients asks `/v1/completions` for 64 pieces after a prompt of 16, greedily, by streams or not; rounds are
interleaved. The server of llama.cpp, which a folder of its own build holds, has as many slots as there are clients.

    NODE_MODULES=none python benchmarks/serve_texts.py FOLDER LLAMA-SERVER [--repeats 3]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from generate import VOCAB, save_gpt2
from serve import ask, free_port, resident

CLIENTS, READ, WRITTEN = 32, 16, 64
KINDS = {"float32": "f32", "int8": "q8_0"}


def asked(number: int) -> dict:
    """Returns what a client asks for: pieces that are no letters, and no end mark."""
    pieces = [1000 + (number * 7919 + place * 104_729) % (VOCAB - 2000) for place in range(READ)]
    bias = {"256": -100}  # of the end mark
    return {"model": "gpt", "prompt": pieces, "max_tokens": WRITTEN, "temperature": 0, "logit_bias": bias}


async def texts(port: int) -> float:
    """Returns the pieces a second that all clients got together."""

    async def one(number: int) -> int:
        status, answer = await ask(port, "/v1/completions", asked(number))
        assert status == 200, answer
        return json.loads(answer[answer.index(b"{") : answer.rindex(b"}") + 1])["usage"]["completion_tokens"]

    begin = time.perf_counter()
    written = sum(await asyncio.gather(*map(one, range(CLIENTS))))
    return written / (time.perf_counter() - begin)


def started(words: list[str], port: int) -> subprocess.Popen:
    """Starts a server and waits until it writes."""
    process, until = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), time.time() + 60
    while True:
        try:
            status, _ = asyncio.run(ask(port, "/v1/completions", {**asked(0), "max_tokens": 1}))
            if status == 200:
                return process
        except OSError:
            pass
        assert process.poll() is None, words
        assert time.time() < until, words
        time.sleep(0.2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("llama", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    folder = given.folder
    if not (folder / "f32.gguf").exists():
        folder.mkdir(parents=True, exist_ok=True)
        save_gpt2(folder)
    cores = str(len(os.sched_getaffinity(0)))
    for weights, kind in KINDS.items():
        ours, theirs = free_port(), free_port()
        words = [sys.executable, "-m", "clearhead", "serve", f"gpt={folder / 'run'}", "--weights", weights]
        slots = ["-np", str(CLIENTS), "-c", str(CLIENTS * 128), "-t", cores, "-tb", cores, "--no-webui"]
        peer = [str(given.llama), "-m", str(folder / f"{kind}.gguf")]
        servers = {
            "clearhead": started([*words, "--port", str(ours)], ours),
            "llama.cpp": started([*peer, "--port", str(theirs), *slots], theirs),
        }
        rates: dict[str, list[float]] = {name: [] for name in servers}
        for _ in range(given.repeats):
            for name, port in (("clearhead", ours), ("llama.cpp", theirs)):
                rates[name].append(asyncio.run(texts(port)))
        middle = {name: statistics.median(each) for name, each in rates.items()}
        print(f"{weights} and {kind}, {CLIENTS} clients, median of {given.repeats}, pieces a second:")
        for name, rate in middle.items():
            share, memory = middle["clearhead"] / rate, resident(servers[name])
            print(f"  {name:10} {rate:7.0f}   clearhead / it {share:.2f}   {memory} MB besides mapped weights")
        for process in servers.values():
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
