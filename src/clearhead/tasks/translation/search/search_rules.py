"""What the search of a translator must and must not write: special pieces, half characters, prefixes, phrases."""

from collections.abc import Sequence

import torch

from clearhead.decode.constraints import Constraints, avoid
from clearhead.decode.rules import Rule, forbid, force_prefix
from clearhead.decode.whole import whole_characters
from clearhead.tasks.translation.search.native import never
from clearhead.text.phrase_book import Demand
from clearhead.text.tokenizer import Tokenizer


def search_rules(
    tokenizer: Tokenizer,
    *,
    limits: Sequence[int],
    prefixes: Sequence[Sequence[int]] = (),
    demands: Sequence[Demand] = (),
    device: torch.device,
) -> list[Rule]:
    """Returns the rules for a batch of sentences.

    Args:
        tokenizer: of the target.
        limits: most pieces of each translation, end mark included.
        prefixes: the pieces that each begins with; empty: none does.
        demands: what each must not contain; empty: there is nothing.
        device: of the search.
    """
    rules = [forbid(never(tokenizer))]
    if any(prefixes):
        rules.append(force_prefix(prefixes))
    if any(demand.avoided for demand in demands):
        avoided = [[demand.avoided] if demand.avoided else [] for demand in demands]
        rules.append(avoid(avoided, device, given=[len(prefix) for prefix in prefixes]))
    return rules + whole_characters(tokenizer.characters, limits, device)


def phrase_constraints(demands: Sequence[Demand], *, eos_id: int, device: torch.device) -> Constraints | None:
    """Returns what makes translations contain the required phrases; None where none requires any."""
    if not any(demand.required for demand in demands):
        return None
    return Constraints([list(demand.required.values()) for demand in demands], eos_id=eos_id, device=device)
