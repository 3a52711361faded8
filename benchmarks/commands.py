"""Measures whole commands, from their start to their end: seconds, and the most memory of the process.

``lines``: ``clearhead translate RUN --beam 5 < FILE`` against a script on CTranslate2 with the same tokenizers, in
batches and with workers that may be its best. ``sentence``: one sentence from the command line, beside bare Python.
``generate``: 128 pieces of a text by a language model, whose weights are read from a kept file.

Commands take turns; the first round of each is not counted, for it may pack weights, and fills the page cache.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLEARHEAD = [sys.executable, "-m", "clearhead"]
WEIGHTS = ("float32", "int8")


def measure(command: list[str], given: Path | None) -> tuple[float, float]:
    """Returns the seconds of a command, and the most MB of its process."""
    start = time.perf_counter()
    with (given or Path(os.devnull)).open() as text:
        process = subprocess.Popen(command, stdin=text, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def lines_of(args: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Returns the commands that translate a file: ours, and CTranslate2's with its export of the run."""
    given = [str(args.run), "--beam", "5"]
    commands = {f"clearhead {kind}": [*CLEARHEAD, "translate", *given, "--weights", kind] for kind in WEIGHTS}
    exported = str(folder / "ctranslate2")
    subprocess.run([*CLEARHEAD, "export", str(args.run), "--to", "ctranslate2", "--out", exported], check=True)
    script = str(Path(__file__).with_name("ctranslate2_lines.py"))
    for kind in WEIGHTS:
        for batch in (16, 32, 64, 128):
            peer = [sys.executable, script, exported, kind, str(args.threads), "1", str(batch)]
            commands[f"ctranslate2 {kind}, {args.threads} workers, batch {batch}"] = peer
    return commands


def sentence_of(args: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Returns the commands that translate one sentence, and Python alone."""
    sentence = args.file.read_text(encoding="utf-8").splitlines()[0]
    ours = {
        f"clearhead {kind}": [*CLEARHEAD, "translate", str(args.run), "--weights", kind, sentence] for kind in WEIGHTS
    }
    return {"bare Python": [sys.executable, "-c", "pass"], **ours}


def generate_of(args: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Returns the commands that continue a text, with each kind of weights."""
    options = ["--max-new", "128", "--temperature", "0", "the"]
    kinds = ("float32", "bfloat16", "int8", "int4")
    return {f"clearhead {kind}": [*CLEARHEAD, "generate", str(args.gpt), "--weights", kind, *options] for kind in kinds}


def main() -> None:
    """Prints a table of one group of commands."""
    groups = {"lines": lines_of, "sentence": sentence_of, "generate": generate_of}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("group", choices=groups)
    parser.add_argument("--run", type=Path, help="of a translator")
    parser.add_argument("--gpt", type=Path, help="the run of a language model")
    parser.add_argument("--file", type=Path, help="source lines")
    parser.add_argument("--cases", nargs="+", default=[""], help="only commands with one of these in their name")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = groups[args.group](args, Path(folder))
        commands = {name: words for name, words in every.items() if any(part in name for part in args.cases)}
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for number in range(args.repeats + 1):
            for name, words in commands.items():
                print(f"round {number} of {args.repeats}: {name}", file=sys.stderr)
                taken[name].append(measure(words, args.file if args.group == "lines" else None))
    print("| command | seconds, median | least | most | MB |\n|---|---|---|---|---|")
    for name, figures in taken.items():
        times, sizes = zip(*figures[1:], strict=True)
        print(f"| {name} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} | {max(sizes):.0f} |")


if __name__ == "__main__":
    main()
