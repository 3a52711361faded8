"""Generation: a language model's texts piece by piece, in batches or with a smaller model that writes ahead."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from clearhead.decode.rows import Begin, TextRows
from clearhead.decode.sampler import Sampler, history_of
from clearhead.decode.sampling import History, choose, draw, uniforms_of
from clearhead.decode.speculative import accept
from clearhead.engine.loops.continuation import (
    Continuation,
    Reason,  # noqa: F401 - both have been imported from here
    never,
)
from clearhead.engine.loops.sampling import uniform_of


@torch.inference_mode()
def generate(
    begin: Begin,
    prompts: Sequence[Sequence[int]],
    sampler: Sampler,
    *,
    limits: Sequence[int],
    samples: Sequence[int],
    stopped: Sequence[Callable[[int], bool]] = (),
) -> list[Continuation]:
    """Continues each prompt; a text depends on its prompt, its sample number and the sampler, and on no other prompt.

    Args:
        begin: starts the prompts' texts.
        prompts: one piece or more each.
        sampler: how pieces are drawn.
        limits: most pieces of each, end mark included.
        samples: a number for each; equal prompts with different numbers give different texts.
        stopped: a function for each prompt, or none at all; it is called with each new piece, and True ends the text.

    Raises:
        ModelError: NaN among the logits, or no piece is left to draw (names row and position).
    """
    texts, rows = [Continuation() for _ in prompts], list(range(len(prompts)))
    if not rows:
        return texts
    stops, decoding = stopped or [never] * len(rows), begin(prompts)
    given, most = [sampler.text(prompt) for prompt in prompts], max(limits)
    device = decoding.logits.device
    start = history_of(given, [len(ids) for ids in given], device=device, room=most)
    ids, starts = start.ids, start.prompts
    for position in range(most):
        logits = decoding.logits
        history = History(ids[:, : ids.shape[1] - most + position], starts + position, starts)
        numbers = uniforms_of(sampler.config.seed, [samples[row] for row in rows], [position] * len(rows))
        pieces = choose(sampler.adjusted(logits, history), sampler.config, numbers)
        going = []
        for place, (row, *new) in enumerate(zip(rows, pieces.tolist(), _log_probs(logits, pieces), strict=True)):
            if not texts[row].take(*new, ends=sampler.marks, limit=limits[row], stopped=stops[row]):
                going.append(place)
        if not going:
            break
        ids.scatter_(1, history.lengths[:, None], pieces[:, None])
        if len(going) < len(rows):
            kept, rows = torch.tensor(going, device=device), [rows[place] for place in going]
            decoding.keep(kept)
            ids, starts, pieces = ids[kept], starts[kept], pieces[kept]
        decoding.advance(pieces)
    return texts


@torch.inference_mode()
def speculate(
    begin: Begin,
    draft: Begin,
    prompt: Sequence[int],
    sampler: Sampler,
    *,
    limit: int,
    drafted: int = 4,
    sample: int = 0,
    stopped: Callable[[int], bool] | None = None,
) -> Continuation:
    """Continues one prompt with fewer passes through a model, each of which reads several pieces of a draft model.

    A greedy text is the one that ``generate`` gives; a drawn one has the same distribution (see ``accept``).

    Args:
        begin: starts a text of the model that decides.
        draft: starts a text of a smaller model with the same vocabulary.
        prompt: one piece or more.
        sampler: how both draw pieces.
        limit: most pieces, end mark included.
        drafted: pieces that the draft model writes ahead; fewer near the limit, or where a model has no room.
        sample: see ``generate``.
        stopped: see ``generate``.
    """
    reader, writer = begin([prompt]), draft([prompt])
    for decoding in (reader, writer):
        decoding.back(1)  # both hold all but the last piece, which is read together with what is drafted
    text, result = _Text(sampler, sampler.text(prompt), limit, sample), Continuation()
    last, unread = prompt[-1], [prompt[-1]]
    while True:
        ahead, own = text.draft(writer, unread, min(drafted, reader.room - 1))
        logits = reader.extend(torch.tensor([[last, *ahead]], device=reader.logits.device))[0]
        taken = text.accept(ahead, own, logits)
        result.drafted, result.accepted = result.drafted + len(ahead), result.accepted + len(taken) - 1
        log_probs = _log_probs(logits[: len(taken)], torch.tensor(taken, device=logits.device))
        for piece, log_prob in zip(taken, log_probs, strict=True):
            if result.take(piece, log_prob, ends=sampler.marks, limit=limit, stopped=stopped or never):
                return result
        lost, last = len(ahead) - len(taken), taken[-1]
        reader.back(lost + 1)
        if lost < 0:  # the draft has not read the last of its own pieces, or has written none
            unread = [*(ahead[-1:] or unread), last]
        else:
            writer.back(lost)
            unread = [last]


class _Text:
    """One text that two models write: its pieces, and by which numbers and probabilities they are drawn."""

    def __init__(self, sampler: Sampler, prompt: list[int], limit: int, sample: int) -> None:
        self.sampler, self.limit, self.sample = sampler, limit, sample
        self.ids, self.begin = prompt, len(prompt)

    def draft(self, writer: TextRows, unread: list[int], most: int) -> tuple[list[int], list[Tensor]]:
        """Returns up to ``most`` pieces by the writer, which reads ``unread`` first, and what each was drawn from."""
        ahead: list[int] = []
        own: list[Tensor] = []
        most = min(most, self.begin + self.limit - len(self.ids) - 1)  # the other model adds a piece of its own
        most = min(most, max(1, writer.room + 1 - len(unread)))  # all that is read can be taken back; the last is not
        while len(ahead) < most:
            for piece in ahead[-1:] or unread:
                writer.advance(torch.tensor([piece], device=writer.logits.device))
            own.append(self._probs(writer.logits, ahead))
            ahead += draw(own[-1], self._numbers(len(ahead), 1, stream=0)).tolist()
        return ahead, own

    def accept(self, ahead: list[int], own: list[Tensor], logits: Tensor) -> list[int]:
        """Appends what the other model's logits [ahead + 1, vocab] accept of ``ahead``, and a piece drawn by them."""
        target = self._probs(logits, ahead)
        numbers = torch.cat([self._numbers(0, len(ahead), stream=1), self._numbers(0, 1, stream=2)])
        taken = accept(torch.cat([target[:0], *own]), target, torch.tensor(ahead, dtype=torch.long), numbers)
        self.ids = self.ids + taken
        return taken

    def _probs(self, logits: Tensor, ahead: list[int]) -> Tensor:
        """Probabilities of the next piece: the last row's after all of ``ahead``, each row's above a piece earlier."""
        ids = torch.tensor(self.ids + ahead, dtype=torch.long, device=logits.device).expand(len(logits), -1)
        lengths = torch.arange(1 - len(logits), 1, device=logits.device) + ids.shape[1]
        return self.sampler.probs(logits, History(ids, lengths, torch.full_like(lengths, self.begin)))

    def _numbers(self, ahead: int, count: int, *, stream: int) -> Tensor:
        first, seed = len(self.ids) - self.begin + ahead, self.sampler.config.seed
        numbers = [uniform_of(seed, self.sample, first + place, stream=stream) for place in range(count)]
        return torch.tensor(numbers, dtype=torch.float64)


def _log_probs(logits: Tensor, pieces: Tensor) -> list[float]:
    """Log-probability of the piece of each row: [rows, vocab], [rows] -> rows."""
    log_probs: list[float] = logits.log_softmax(dim=-1).gather(1, pieces[:, None])[:, 0].tolist()
    return log_probs
