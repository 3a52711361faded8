"""Lexical constraints: phrases a hypothesis must not contain (a rule), and phrases it must (shares of the beam)."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from clearhead.decode.rules import Rule
from clearhead.text.phrase import Automaton

OFF = float("-inf")


def avoid(
    phrases: Sequence[Sequence[Automaton]], device: torch.device | str = "cpu", *, given: Sequence[int] = ()
) -> Rule:
    """Returns a rule: sentence i contains no phrase that ``phrases[i]`` recognise, whatever pieces spell it.

    No piece may leave a phrase at the end, though letters after it could still make another word of it: a model that
    has come so far would rather add wrong letters than turn back. A piece that leads past the end of the phrase may
    come.

    Args:
        phrases: of each sentence.
        device: of the search.
        given: how many pieces of each sentence are not the model's choice; empty: none.
    """
    stack = _Stack(phrases, device)
    done = stack.done[stack.table]  # states vocab
    first = torch.tensor(given or [0] * len(phrases), device=device)

    def rule(scores: Tensor, ids: Tensor, sentences: Tensor) -> None:
        chosen = (first[sentences] <= ids.shape[-1])[:, None, None]
        for states in stack.states(ids, sentences).unbind(-1):
            scores.masked_fill_(done[states] & chosen, OFF)

    return rule


class Constraints:
    """Phrases that each sentence must contain, met by dynamic beam allocation.

    Candidates are the best pieces of each hypothesis and, for each phrase it has not met, the most probable of the
    pieces that bring it nearer. Candidates that miss equally many pieces make a bank; the banks take turns in giving
    their best to the beam (Post and Vilar 2018, arXiv:1804.06609; in tensors, Hu et al. 2019). What is
    missing is read off a hypothesis's pieces at every step, so a phrase that was begun and broken off is missing again.
    The end mark may come when nothing is missing.

    Args:
        phrases: ``phrases[i]`` are sentence i's, one automaton each; there may be none.
        eos_id: the end mark.
        device: of the search.
    """

    def __init__(
        self, phrases: Sequence[Sequence[Automaton]], *, eos_id: int, device: torch.device | str = "cpu"
    ) -> None:
        self._stack, self._eos_id = _Stack(phrases, device), eos_id
        left = [torch.from_numpy(automaton.left) for automaton in self._stack.distinct]
        self._left = torch.cat([torch.zeros(1, dtype=torch.long), *left]).to(device)  # of each state
        ways = [torch.from_numpy(way) for automaton in self._stack.distinct for way in automaton.ways]
        ways = [torch.tensor([eos_id]), *ways]
        # where no piece is missing the end mark is the way on
        self._ways = pad_sequence(ways, batch_first=True, padding_value=eos_id).to(device)

    def met(self, ids: Tensor, sentences: Tensor) -> Tensor:
        """Returns which rows [sentences, beam] miss nothing; arguments as in ``candidates``."""
        return self._left[self._stack.states(ids, sentences)].sum(-1) == 0

    def candidates(self, scores: Tensor, ids: Tensor, sentences: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns score and piece of each row's candidates, and how many pieces are missing after each.

        Args:
            scores: [sentences, beam, vocab], of the next piece; that of an end mark that has to wait becomes -inf.
            ids: [sentences, beam, length], so far.
            sentences: [sentences], which of the batch each is.
            width: how many of the best pieces of a row take part.
        """
        stack, states = self._stack, self._stack.states(ids, sentences)  # sentences beam phrases
        scores[:, :, self._eos_id].masked_fill_(self._left[states].sum(-1) > 0, OFF)
        ways = self._ways[states]  # sentences beam phrases ways
        best = scores.gather(-1, ways.flatten(2)).view_as(ways).argmax(-1, keepdim=True)
        pieces = torch.cat([scores.topk(width, dim=-1).indices, ways.gather(-1, best)[..., 0]], dim=-1)
        again = (pieces[..., None] == pieces[..., None, :]).tril(-1).any(-1)
        missing = self._left[stack.table[states[:, :, None], pieces[..., None]]].sum(-1)
        return scores.gather(-1, pieces).masked_fill(again, OFF), pieces, missing


def take_turns(scores: Tensor, missing: Tensor, ends: Tensor, beam: int) -> Tensor:
    """Returns a rating of each candidate [sentences, candidates]; -inf where its score is.

    First the best of each bank, then the second best of each, and so on; in a turn, fewest missing pieces first. Ends
    among the ``beam`` best of their bank go before all: they take no place from those that go on.
    """
    ranked, order = scores.sort(dim=-1, descending=True)
    bank = missing.gather(1, order)
    banks = int(bank.max()) + 1
    turn = F.one_hot(bank, banks).cumsum(1).gather(2, bank[..., None])[..., 0]
    rating = -(turn * banks + bank).masked_fill(ends.gather(1, order) & (turn <= beam), 0)
    return torch.empty_like(scores).scatter_(1, order, rating.to(scores.dtype).masked_fill(ranked == OFF, OFF))


class _Stack:
    """The automata of all sentences in one table, after state 0, which is that of no phrase and never changes."""

    def __init__(self, phrases: Sequence[Sequence[Automaton]], device: torch.device | str) -> None:
        self.distinct = list(dict.fromkeys(itertools.chain.from_iterable(phrases)))
        first = list(itertools.accumulate((len(automaton.done) for automaton in self.distinct), initial=1))
        number = dict(zip(self.distinct, first, strict=False))
        tables = [torch.from_numpy(automaton.table) + state for automaton, state in number.items()]
        idle = torch.zeros(1, tables[0].shape[1] if tables else 1, dtype=torch.int32)
        self.table = torch.cat([idle, *tables]).to(device)
        """[states, vocab], the state after a piece."""
        done = [torch.from_numpy(automaton.done) for automaton in self.distinct]
        self.done = torch.cat([torch.tensor([False]), *done]).to(device)
        """[states], whether a phrase has occurred if the text ends here."""
        rows = [torch.tensor([number[automaton] for automaton in own], dtype=torch.int32) for own in phrases]
        self.start = pad_sequence(rows, batch_first=True).to(device) if rows else idle
        """[sentences, phrases], states before the first piece."""

    def states(self, ids: Tensor, sentences: Tensor) -> Tensor:
        """Returns the state of each phrase [sentences, beam, phrases] after pieces [sentences, beam, length]."""
        states = self.start[sentences][:, None].expand(-1, ids.shape[1], -1)
        for step in ids.unbind(-1):
            states = self.table[states, step[..., None]]
        return states
