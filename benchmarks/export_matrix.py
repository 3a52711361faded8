"""Which runs go to which formats, equal or how close, how large and how fast, as a Markdown table.

    python benchmarks/export_matrix.py --out matrix.jsonl NAME=RUN=DATA ...

Every cell is a run in one format with one way to store weights. It is exported, compared with the run on the test split
by the library that reads it, and timed: here and there in turn, five times, on one thread, and the median is kept. A
cell is a line of the file ``--out`` as soon as it is measured; called again the program goes on where it stopped.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from clearhead.data.corpus import NoSplitError
from clearhead.errors import ModelError
from clearhead.export.runtime import Runtime
from clearhead.tasks.evidence import Evidence
from clearhead.verbs.exports.certify import compare, predicate_of
from clearhead.verbs.exports.formats import FORMATS, Source, Target
from clearhead.verbs.exports.targets import check_target

ROUNDS = 5
TIMED = 40  # lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN=DATA")
    parser.add_argument("--out", type=Path, required=True, help="results, a JSON object a line")
    parser.add_argument("--lines", type=int, default=1000, help="of the test split that are compared")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = read(options.out)
    for words in options.runs:
        name, run, data = words.split("=", 2)
        results += fill(name, Path(run), Path(data), results, options)
    print("\n".join(table(results)))
    return 0


def fill(name: str, run: Path, data: Path, known: list[dict[str, Any]], options: Any) -> list[dict[str, Any]]:
    """Measures the cells of a run that are not there yet, and appends each to the file at once."""
    there = {(cell["format"], cell["stored"]) for cell in known if cell["model"] == name}
    cells = [(target, stored) for target, entry in FORMATS.items() for stored in entry.quantizations or ("float32",)]
    missing = [cell for cell in cells if cell not in there]
    if not missing:
        return []
    source, measured_now = Source.open(run), list[dict[str, Any]]()
    evidence, split = lines_of(source, data, options.lines)
    for target, stored in missing:
        cell = {"model": name, "format": target, "stored": stored, "what": what(source), "split": split}
        cell |= measured(source, evidence, target, stored)
        measured_now.append(cell)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(cell, ensure_ascii=False) + "\n")
        print(f"{name} {target} {stored}: {cell['verdict']}", file=sys.stderr, flush=True)
    return measured_now


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def what(source: Source) -> str:
    parameters = source.family.parameters(source.trained)
    return f"{source.family.sizes(source.trained.recipe)}, {parameters / 1e6:.1f} M"


def measured(source: Source, evidence: Evidence, target: Target, stored: str) -> dict[str, Any]:
    """One cell: refused and why, or what a certificate says of it, and speeds."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        try:
            check_target(target, source.family, source.trained.recipe)
            FORMATS[target].write(source, folder, stored)
        except ModelError as error:
            return {"verdict": "refused", "why": str(error)}
        compared = compare(source, folder, target, evidence)
        predicate = predicate_of(source, folder, target, stored, compared)
        few = timed_part(evidence)
        here, there = speeds(source.ours(few), FORMATS[target].run(source, folder, few), few)
    same = compared.tokenization
    verdict, why = ("equal", "") if compared.equal else ("close", "")
    if same is not None and not same.all:  # export does not keep such
        verdict, why = "refused", f"{same.equal:,} of {same.of:,} texts have the same pieces"
    return {"verdict": verdict, "why": why, "predicate": predicate, "here": here, "there": there}


def lines_of(source: Source, data: Path, lines: int) -> tuple[Evidence, str]:
    family: Any = source.family
    try:
        return family.evidence(source.trained, data, lines, split="test"), "test"
    except NoSplitError:
        return family.evidence(source.trained, data, lines), "valid"


def timed_part(evidence: Evidence) -> Evidence:
    rows, prompts, limits = (part[:TIMED] for part in (evidence.rows, evidence.prompts, evidence.limits))
    return Evidence(rows, evidence.ends, evidence.never, prompts=prompts, limits=limits, scale=evidence.scale)


def speeds(ours: Runtime, theirs: Runtime, evidence: Evidence) -> tuple[float, float]:
    """Pieces a second, written one text after the other; of encoders, read."""
    taken: dict[int, list[float]] = {0: [], 1: []}
    for runtime in (ours, theirs):
        once(runtime, evidence, most=4)  # packs weights, starts threads
    for _ in range(ROUNDS):
        for number, runtime in enumerate((ours, theirs)):
            taken[number].append(once(runtime, evidence))
    return statistics.median(taken[0]), statistics.median(taken[1])


def once(runtime: Runtime, evidence: Evidence, most: int = TIMED) -> float:
    started, pieces = time.perf_counter(), 0
    if evidence.prompts:
        for row, limit in zip(evidence.prompts[:most], evidence.limits, strict=False):
            pieces += sum(len(ids) + 1 for ids in runtime.greedy([row], [limit]) or [])
    else:
        for row in evidence.rows[:most]:
            runtime.outputs([row])
            pieces += len(row.ids)
    return pieces / (time.perf_counter() - started)


def table(results: list[dict[str, Any]]) -> list[str]:
    lines = []
    for model in dict.fromkeys(cell["model"] for cell in results):
        cells = [cell for cell in results if cell["model"] == model]
        lines += ["", f"**{model}**: {cells[0]['what']}", "", *HEAD]
        refused = {cell["format"]: cell for cell in reversed(cells) if cell["verdict"] == "refused"}
        lines += [row(cell) for cell in cells if cell["verdict"] != "refused"]
        empty = " |" * (HEAD[0].count("|") - 3)
        lines += [f"| {target} |{empty} refused: {cell['why']} |" for target, cell in refused.items()]
    return lines


HEAD = (
    "| format | weights | MB | outputs differ by | greedy texts the same | quality here, there | 95 % of the loss | "
    "pieces/s here, there | |",
    "|---|---|---|---|---|---|---|---|---|",
)


def row(cell: dict[str, Any]) -> str:
    said = cell["predicate"]
    tokens, quality = said["tokens"], said.get("quality")
    same = f"{tokens['equal']} of {tokens['of']}" if tokens else "-"
    scores, interval = "-", "-"
    if quality:
        scores = f"{quality['metric']} {quality['before']:.2f}, {quality['after']:.2f}"
        low, high = (round(value, 2) + 0.0 for value in quality["interval95"])  # never -0.00
        interval = f"{low:.2f} to {high:.2f} {quality['unit']}"
    size = f"{said['bytes']['after'] / 1e6:.2f}"
    speed = f"{cell['here']:,.0f}, {cell['there']:,.0f}"
    parts = [cell["format"], cell["stored"], size, f"{said['logits']['max_abs']:.1g}", same, scores, interval, speed]
    return f"| {' | '.join([*parts, cell['verdict']])} |"


if __name__ == "__main__":
    sys.exit(main())
