"""What is asked of a language model, and a text of its as it comes: cut into parts, ended, and put together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from clearhead.decode.generation import Continuation, Reason
from clearhead.decode.streaming import CONTEXT, StopStrings, TextStream
from clearhead.errors import UsageError
from clearhead.text.overlong import OverlongPrompt
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class GenerationConfig:
    """What is generated, besides how a piece is drawn."""

    max_new: Annotated[int, Ge(1)] = 200
    """Most new pieces of a text, end mark included."""
    min_length: Annotated[int, Ge(0)] = 0
    """New pieces before the end mark may come."""
    n: Annotated[int, Ge(1)] = 1
    """Texts for each prompt."""
    stop: tuple[str, ...] = ()
    """Strings before the first of which a text ends."""
    bad_words: tuple[str, ...] = ()
    """Words and phrases that no text contains; ``clearhead.text.phrase`` says when one occurs."""
    overlong: OverlongPrompt = "window"
    """Where prompt and ``max_new`` are above the context: ``error``; ``window`` drops the older half of what the model
    sees whenever that is full, and sees the end of a prompt above the context; ``truncate-left`` cuts the prompt. Only
    a GPT has a context: a recurrent and an n-gram model read texts of any length."""
    beam: Annotated[int, Ge(0)] = 0
    """Hypotheses of a search for the most probable texts; 0 draws pieces."""
    draft_pieces: Annotated[int, Ge(1)] = 4
    """Pieces that a draft model writes ahead."""

    def __post_init__(self) -> None:
        if self.beam and self.n > self.beam:
            raise ValueError(f"n = {self.n}: must be at most beam = {self.beam}")


@dataclass(frozen=True)
class Generation:
    """One text that continues a prompt."""

    prompt: str
    text: str
    """What comes behind the prompt, up to the end mark or a stop string."""
    pieces: list[str]
    """New pieces, with the end mark where the model set one and with those that spell a stop string."""
    ids: list[int]
    """Of ``pieces``."""
    log_probs: list[float]
    """Of each piece, by the model itself: before temperature, penalties and bans; in nats."""
    reason: Reason
    """Why it ended: end (the mark), length (``max_new``) or stop (a stop string)."""
    dropped: int = 0
    """Pieces at the begin of the prompt that the model did not see."""
    unknown: int = 0
    """Pieces of the prompt that are not in the vocabulary."""
    accepted: float | None = None
    """Share of a draft model's pieces that stood."""


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model gets it."""

    text: str
    ids: list[int]
    """One piece or more."""
    dropped: int
    unknown: int

    @classmethod
    def of(
        cls, text: str, tokenizer: Tokenizer, config: GenerationConfig, *, context: int | None, marks: bool
    ) -> "Prompt":
        """Encodes a text; above the limit it is cut on the left or refused.

        Args:
            text: the prompt.
            tokenizer: of the model.
            config: says what to do with a long one.
            context: most pieces that the model looks back on; None: any number, and no prompt is too long.
            marks: what begins a text comes before it, as between documents; before an empty one it always does.

        Raises:
            UsageError: it is too long under ``error``, or ``max_new`` leaves no room for any of it.
            DataError: it has a lone surrogate.
        """
        pieces = tokenizer.encode(text)
        new = 0 if config.overlong == "window" else config.max_new
        room = len(pieces) if context is None else context - new
        kept = pieces[max(0, len(pieces) - max(0, room)) :]
        if len(pieces) > room and (config.overlong == "error" or not kept):
            raise UsageError(
                f"prompt {text[:40]!r}: has {len(pieces)} pieces, with max_new = {config.max_new} too many for the "
                f"context of {context}; lower max_new, or use overlong = 'window'"
            )
        begins = not pieces or (marks and len(kept) == len(pieces))
        return cls(text, [tokenizer.begin] * begins + kept, len(pieces) - len(kept), tokenizer.count_unknown(pieces))


class TextWriter:
    """One text in the making: takes pieces, gives out what of it is settled, and knows when it has ended.

    Args:
        prompt: what it continues.
        tokenizer: of the model.
        stop: strings before which it ends.
        on_text: called with each part, as it is settled.
    """

    def __init__(
        self, prompt: Prompt, tokenizer: Tokenizer, *, stop: Sequence[str], on_text: Callable[[str], object]
    ) -> None:
        self.prompt, self._tokenizer, self._on_text = prompt, tokenizer, on_text
        self._stream, self._stops, self._parts = TextStream(tokenizer.decode), StopStrings(stop), list[str]()
        for piece in prompt.ids[-CONTEXT:]:
            self._stream.push(piece)
        self._stream.flush()

    def push(self, *pieces: int) -> bool:
        """Takes the next pieces; returns whether a stop string is there."""
        return self._take("".join(map(self._stream.push, pieces)))

    def finish(self, found: Continuation) -> Generation:
        """Gives out what is left of the text and returns all of it; half a character at the limit is left out."""
        if found.reason != "stop":
            rest = self._stream.flush()
            if not self._take(rest.removesuffix("\ufffd") if found.reason == "length" else rest):
                self._give(self._stops.flush())
        return Generation(
            prompt=self.prompt.text,
            text="".join(self._parts),
            pieces=self._tokenizer.pieces(found.ids),
            ids=found.ids,
            log_probs=found.log_probs,
            reason=found.reason,
            dropped=self.prompt.dropped,
            unknown=self.prompt.unknown,
            accepted=found.accepted / found.drafted if found.drafted else None,
        )

    def _take(self, text: str) -> bool:
        part, over = self._stops.push(text)
        self._give(part)
        return over

    def _give(self, part: str) -> None:
        if part:
            self._parts.append(part)
            self._on_text(part)
