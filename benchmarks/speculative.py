"""Measures new pieces per second of one text written with and without a draft model, greedy and sampled.

In the environment, TARGET names a run of a language model, and DRAFTS other runs of any kind with the same tokenizer,
separated by commas. The prompt is PROMPT, or empty.
"""

import os
from pathlib import Path

from driver import Case, Run, main

NEW, PIECES = 256, 4
TEMPERATURES = {"greedy": 0.0, "sampled": 1.0}


def build(spec: dict) -> tuple[Run, dict]:
    """Returns a function that does one repeat (one text) of a case; each repeat has another seed."""
    from clearhead.decode.sampling import SamplingConfig
    from clearhead.tasks.language_model.prompts import GenerationConfig
    from clearhead.verbs.load import load

    target, draft = load(spec["target"]), load(spec["draft"]) if spec["draft"] else None
    config = GenerationConfig(max_new=NEW, min_length=NEW, draft_pieces=PIECES)
    seeds = iter(range(1_000_000))
    accepted: list[float] = []

    def run() -> float:
        sampling = SamplingConfig(temperature=TEMPERATURES[spec["group"]], seed=next(seeds))
        (text,) = target.generate([os.environ.get("PROMPT", "")], config, sampling=sampling, draft=draft)
        accepted.append(text.accepted or 0.0)
        return float(len(text.ids))

    run()
    return run, {"gflop": 0.0, "accepted": f"{accepted[0]:.0%}" if draft else "-"}


def cases() -> list[Case]:
    """Returns the cases: the target alone, then with each draft."""
    target = os.environ.get("TARGET", "")
    drafts = [name for name in os.environ.get("DRAFTS", "").split(",") if name]
    every = []
    for group in TEMPERATURES:
        for draft in ["", *drafts]:
            name = f"draft {Path(draft).name}" if draft else "clearhead"
            every.append(Case(group, name, {"group": group, "target": target, "draft": draft}))
    return every


if __name__ == "__main__":
    main(__file__, build, cases(), groups="kinds", unit="pieces/s", columns={"accepted": "accepted"})
