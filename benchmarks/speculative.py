"""Writing with a draft model beside writing without: new pieces per second of one text, greedy and sampled.

TARGET in the environment names a run of a language model, DRAFTS others with the same tokenizer, divided by commas;
they may be of any kind. The prompt is PROMPT, or the begin of a text.
"""

import os
from pathlib import Path

from driver import Case, Run, main

NEW, PIECES = 256, 4
TEMPERATURES = {"greedy": 0.0, "sampled": 1.0}


def build(spec: dict) -> tuple[Run, dict]:
    """Returns the repeat (one text) of one case; each repeat has another seed."""
    from clearhead.decode.sampling import SamplingConfig
    from clearhead.tasks.language_model.prompts import GenerationConfig
    from clearhead.verbs.load import load

    target, draft = load(spec["target"]), load(spec["draft"]) if spec["draft"] else None
    config = GenerationConfig(max_new=NEW, min_length=NEW, draft_pieces=PIECES)
    seeds = iter(range(1_000_000))
    accepted: list[float] = []

    def run() -> float:
        sampling = SamplingConfig(temperature=TEMPERATURES[spec["group"]], seed=next(seeds))
        (found,) = target.generate([os.environ.get("PROMPT", "")], config, sampling=sampling, draft=draft)
        accepted.append(found.accepted or 0.0)
        return float(len(found.ids))

    run()
    return run, {"gflop": 0.0, "accepted": f"{accepted[0]:.0%}" if draft else "-"}


def cases() -> list[Case]:
    """The target alone, then with each draft."""
    target = os.environ.get("TARGET", "")
    drafts = [name for name in os.environ.get("DRAFTS", "").split(",") if name]
    found = []
    for group in TEMPERATURES:
        for draft in ["", *drafts]:
            name = f"draft {Path(draft).name}" if draft else "clearhead"
            found.append(Case(group, name, {"group": group, "target": target, "draft": draft}))
    return found


if __name__ == "__main__":
    main(__file__, build, cases(), groups="kinds", unit="pieces/s", columns={"accepted": "accepted"})
