"""Times cases side by side, each in its own process, in interleaved rounds; prints Markdown tables and JSON lines.

A program calls ``main`` with its cases and a function ``build``: spec -> (run, facts). ``run`` does one repeat and
returns the units of work done; ``facts`` are columns of the table. In each round every case has its turn while the
others sleep, so that a slow minute of the machine affects all of them. The machine's own limits are cases too.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

Run = Callable[[], float]
Row = dict
MIN_SECONDS = 0.4  # shorter work is repeated within a repeat
LIMITS = {"float32 GEMM 2048x2048x2048": "GFLOP/s", "read of 1 GiB": "GB/s"}
PEERS = ("torch", "clearhead", "transformers", "joeynmt", "ctranslate2")


@dataclass(frozen=True)
class Case:
    """One thing to time; its process gets ``spec``."""

    group: str
    name: str
    spec: dict
    python: str = "main"
    """A name in ``--python``, whose interpreter runs the case; names that are not given there mean this interpreter."""
    environ: dict = field(default_factory=dict)
    repeats: int = 1000
    """Most repeats of this case, for cases that are only for information."""


def build_limit(spec: dict) -> tuple[Run, dict]:
    """Builds a case that measures a limit of the machine."""
    import torch

    if spec["limit"].startswith("read"):
        block = torch.ones(2**28)
        return lambda: float(block.sum() > 0) * block.nbytes / 1e9, {}
    left, right = torch.randn(2, 2048, 2048)
    out = torch.empty(2048, 2048)
    return lambda: 2 * len(torch.mm(left, right, out=out)) ** 3 / 1e9, {}


def work(build: Callable[[dict], tuple[Run, dict]], spec: dict) -> None:
    """Runs the timed process: builds, warms up, then for each line of stdin does a repeat and prints a line of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output that a peer prints must not get among the answers
    try:
        run, facts = (build_limit if "limit" in spec else build)(spec)
        run()
        versions = {name: metadata.version(name) for name in PEERS if name in sys.modules}
        print(json.dumps({"facts": facts, "versions": versions}), file=answers)
        for _ in sys.stdin:
            units, start = 0.0, time.perf_counter()
            while (seconds := time.perf_counter() - start) < MIN_SECONDS:
                units += run()
            # getrusage would count the peak of the driver, which started this process
            peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
            print(json.dumps({"rate": units / seconds, "peak_mb": round(peak)}), file=answers)
    except Exception as error:  # a peer that does not work is a result too
        print(json.dumps({"error": f"{type(error).__name__}: {error}"[:300]}), file=answers)


class Worker:
    """The driver's end of a timed process."""

    def __init__(self, case: Case, script: str, options: argparse.Namespace) -> None:
        print(f"{case.group}: {case.name} starts", file=sys.stderr)
        quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
        threads = {name: str(options.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        python = dict(pair.split("=", 1) for pair in options.python).get(case.python, sys.executable)
        self.case, self.answers, self.others = case, [], 0.0
        self.process = subprocess.Popen(
            [python, script, "--worker", json.dumps(case.spec)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | quiet | threads | case.environ,
        )
        self.first = self._answer()

    def repeat(self, number: int) -> None:
        """Asks for one repeat, and records how many cores other processes used meanwhile."""
        if number >= self.case.repeats or self.process.poll() is not None or "error" in self.first:
            return
        before, start = self._foreign_cpu(), time.perf_counter()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            self.first = answer
            return
        self.answers.append(answer)
        self.others = max(self.others, (self._foreign_cpu() - before) / (time.perf_counter() - start))

    def row(self, unit: str) -> Row:
        """Ends the process and summarizes its answers."""
        self.process.communicate()
        row = {"group": self.case.group, "case": self.case.name, "unit": unit, **self.first}
        if "error" in row:
            return row
        rates = [answer["rate"] for answer in self.answers]
        row |= {"median": statistics.median(rates), "min": min(rates), "max": max(rates), "n": len(rates)}
        return row | {"peak_mb": self.answers[-1]["peak_mb"], "others": round(self.others, 2)}

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": f"the process ended with status {self.process.wait()}"}

    def _foreign_cpu(self) -> float:
        """Returns the seconds of CPU time used so far by all processes except the timed one."""
        busy = [int(value) for value in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        own = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        return (sum(busy) - busy[3] - busy[4] - sum(map(int, own))) / os.sysconf("SC_CLK_TCK")


def option_parser(groups: str, names: list[str]) -> argparse.ArgumentParser:
    """Returns the parser of a program's options; ``groups`` is the option that chooses among the groups ``names``."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--worker", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument(f"--{groups}", dest="groups", nargs="+", choices=names, default=names)
    parser.add_argument("--cases", nargs="+", default=[""], help="only cases with one of these in their name")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--python", nargs="+", default=[], metavar="PEER=PATH", help="a peer's own interpreter")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append a JSON line per case")
    return parser


def main(
    script: str,
    build: Callable[[dict], tuple[Run, dict]],
    cases: Sequence[Case],
    *,
    groups: str,
    unit: str,
    columns: dict[str, str],
    prepare: Callable[[Path], None] | None = None,
    finish: Callable[[list[Row]], None] | None = None,
) -> list[Row]:
    """Reads the options, times the chosen cases and prints a table per group.

    Args:
        script: the program's file; timed processes run it with ``--worker``.
        build: spec -> (run, facts); ``spec["folder"]`` is a temporary folder that all processes share.
        cases: all cases; each is compared with the one named ``clearhead``.
        groups: name of the option that chooses groups.
        unit: unit of the rates.
        columns: heading -> name in ``facts``.
        prepare: fills the shared folder before anything is timed.
        finish: adds to the facts of a group's rows.
    """
    names = list(dict.fromkeys(case.group for case in cases))
    parser = option_parser(groups, names)
    options = parser.parse_args()
    if options.worker:
        work(build, options.worker)
        sys.exit()
    known = {case.python for case in cases} - {"main"}
    if wrong := {pair.split("=")[0] for pair in options.python} - known:
        parser.error(f"--python {', '.join(sorted(wrong))}: the peers with an interpreter are {', '.join(known)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        if prepare is not None:
            prepare(Path(folder))
        for group in options.groups:
            chosen = [Case(group, limit, {"limit": limit}) for limit in LIMITS]
            of_group = [case for case in cases if case.group == group]
            chosen += [case for case in of_group if any(part in case.name for part in options.cases)]
            for case in chosen:
                case.spec["folder"] = folder
            workers = [Worker(case, script, options) for case in chosen]
            for number, worker in itertools.product(range(options.repeats), workers):
                print(f"{group}: round {number + 1} of {options.repeats}, {worker.case.name}", file=sys.stderr)
                worker.repeat(number)
            group_rows = [worker.row(LIMITS.get(worker.case.name, unit)) for worker in workers]
            if finish is not None:
                finish(group_rows)
            print(f"\n### {group}: {unit}\n\n{table(group_rows, columns)}", flush=True)
            rows += group_rows
    if options.json:
        with options.json.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return rows


def table(rows: list[Row], columns: dict[str, str]) -> str:
    """Formats one group as Markdown; ``share`` is relative to the GEMM rate measured in the same rounds."""
    ours = next((row["median"] for row in rows if row["case"] == "clearhead" and "median" in row), float("nan"))
    gemm = rows[0].get("median", float("nan"))
    heads = ["case", "median", "min", "max", "n", "clearhead / case", "GFLOP/s (share)", "peak MB", *columns]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows[len(LIMITS) :]:
        if "error" in row:
            lines.append(f"| {row['case']} | failed: {row['error']} |" + " |" * (len(heads) - 2))
            continue
        rates, flops = [f"{row[key]:,.0f}" for key in ("median", "min", "max")], row["median"] * row["facts"]["gflop"]
        cells = [row["case"], *rates, f"{row['n']}", f"{ours / row['median']:.2f}", f"{flops:.0f} ({flops / gemm:.0%})"]
        cells += [f"{row['peak_mb']:,}", *(str(row["facts"].get(key, "-")) for key in columns.values())]
        lines.append(f"| {' | '.join(cells)} |")
    for row in rows[: len(LIMITS)]:
        if "median" in row:
            lines.append(f"\n{row['case']}: {row['median']:.1f} {row['unit']} ({row['min']:.1f} to {row['max']:.1f})")
    versions = {name: version for row in rows for name, version in row.get("versions", {}).items()}
    lines.append(f"\nOther processes had at most {max(row.get('others', 0.0) for row in rows)} cores meanwhile. ")
    return "\n".join(lines) + " ".join(f"{name} {version}" for name, version in versions.items())
