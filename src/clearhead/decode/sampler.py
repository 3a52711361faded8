"""How a text's next piece is drawn: sampling, special pieces, a least length, and phrases that never come."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from clearhead.decode.rules import Rule
from clearhead.decode.sampling import OFF, History, adjust, filtered
from clearhead.decode.whole import TAIL, whole_of
from clearhead.engine.loops.sampler import SamplerSettings

Logits = Float[Tensor, "rows vocab"]


@dataclass(frozen=True)
class Sampler(SamplerSettings):
    """How the next piece is drawn from tensors of logits."""

    def adjusted(self, logits: Logits, history: History) -> Logits:
        """Returns logits of the next piece after penalties and bans; raises as ``adjust``."""
        logits = logits.index_fill(1, history.ids.new_tensor(self.forbidden), OFF)
        if self.ends and self.min_length:
            early = history.lengths - history.prompts < self.min_length
            logits[:, list(self.ends)] = logits[:, list(self.ends)].masked_fill(early[:, None], OFF)
        logits = adjust(logits, history, self.config, eos_id=self.eos_id, min_length=self.min_length)
        if self.avoided is not None:
            states = [self._state(ids) for ids in self._ends(history)]
            completes = torch.from_numpy(
                self.avoided.done[self.avoided.steps[states]][:, self.avoided.kinds]
            )  # rows vocab
            logits = logits.masked_fill(completes.to(logits.device), OFF)
        if self.characters is not None:
            count = min(TAIL, history.ids.shape[1])
            tail = history.tail(count).masked_fill(~_real(history.lengths, count), -1)
            room = self.limit - (history.lengths - history.prompts) - 1
            whole_of(self.characters, logits.device).mask_(logits, tail, room)
        return logits

    def probs(self, logits: Logits, history: History) -> Float64[Tensor, "rows vocab"]:
        """Returns what the next piece is drawn from, on the CPU; raises as ``adjust``."""
        return filtered(self.adjusted(logits, history), self.config).softmax(dim=-1).cpu()

    def rule(self, prompts: Sequence[Sequence[int]]) -> Rule:
        """Returns the same penalties and bans for ``beam_search`` over what follows ``prompts``."""
        texts = [self.text(prompt) for prompt in prompts]

        def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
            begins = [texts[sentence] for sentence in sentences.tolist() for _ in range(ids.shape[1])]
            whole = [begin + row for begin, row in zip(begins, ids.flatten(0, 1).tolist(), strict=True)]
            history = history_of(whole, [len(begin) for begin in begins], device=scores.device)
            adjusted = self.adjusted(scores.flatten(0, 1), history)
            if self.ends:  # the search knows one end mark, which gets the score of the best
                adjusted[:, self.eos_id] = adjusted[:, sorted(self.marks)].amax(dim=1)
                adjusted[:, list(self.ends)] = OFF
            scores.copy_(adjusted.view_as(scores))

        return rule

    def _ends(self, history: History) -> list[list[int]]:
        """The last pieces of each row, at least as many as a phrase can have: each spells one of its bytes or more."""
        assert self.avoided is not None
        count = min(len(self.avoided.done), history.ids.shape[1])
        rows = zip(history.tail(count).tolist(), history.lengths.tolist(), strict=True)
        return [row[count - min(count, length) :] for row, length in rows]

    def _state(self, ids: list[int]) -> int:
        """The automaton's state after ``ids``; it starts anew after a whole phrase, which only a prompt can contain."""
        assert self.avoided is not None
        state = 0
        for piece in ids:
            state = self.avoided.after(state, piece)
            state = 0 if self.avoided.done[state] else state
        return state


def _real(lengths: Tensor, count: int) -> Tensor:
    """Which of the last ``count`` pieces a row has: [rows] -> [rows, count]."""
    return torch.arange(count, 0, -1, device=lengths.device) <= lengths[:, None]


def history_of(
    texts: Sequence[list[int]], prompts: Sequence[int], *, device: torch.device | str, room: int = 0
) -> History:
    """Returns texts as a ``History``.

    Args:
        texts: pieces of each row.
        prompts: how many of a row's first pieces are its prompt.
        device: where the tensors are to be.
        room: columns of padding to add, for pieces to come.
    """
    rows = [torch.tensor(text, dtype=torch.long) for text in texts]
    ids = torch.nn.functional.pad(pad_sequence(rows, batch_first=True), (0, room))
    lengths = torch.tensor([len(text) for text in texts])
    return History(ids.to(device), lengths.to(device), torch.tensor(prompts).to(device))
