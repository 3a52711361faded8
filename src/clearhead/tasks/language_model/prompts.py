"""The settings of text generation, the encoded prompt, and the assembly of a text from its pieces."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clearhead.brief import Brief
from clearhead.decode.streaming import CONTEXT, StopStrings, TextStream
from clearhead.engine.loops.continuation import Continuation, Reason
from clearhead.engine.rows import Cache
from clearhead.errors import DataError, SettingError
from clearhead.ranges import BeamOrZero, Count, CountOrZero, Texts
from clearhead.text.overlong import OverlongPrompt
from clearhead.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class GenerationConfig:
    """The settings of generation, without those of sampling."""

    max_new: Count = 200
    """Maximum number of new pieces in a text, including the end mark."""
    min_length: CountOrZero = 0
    """Minimum number of new pieces before the end mark."""
    n: Texts = 1
    """Number of texts for each prompt."""
    stop: tuple[str, ...] = ()
    """Stop strings: a text ends before the first of them."""
    bad_words: tuple[str, ...] = ()
    """Words and phrases that no text contains; ``clearhead.text.phrase`` says when one occurs."""
    overlong: OverlongPrompt = "window"
    """What happens if prompt and ``max_new`` together exceed the context: ``error`` refuses; ``window`` drops the older
    half of the context whenever it is full, and keeps only the end of a longer prompt; ``truncate-left`` cuts the start
    of the prompt. Only a GPT has a context: recurrent and n-gram models read texts of any length."""
    beam: BeamOrZero = 0
    """Beam width of a search for the most probable texts; 0 samples pieces."""
    draft_pieces: Texts = 4
    """How many pieces a draft model proposes at a time (speculative decoding)."""
    cache: Cache = "float32"
    """How the native engine holds the keys and values of a text; int8 is a little more than a quarter of the memory,
    and near float32."""

    def __post_init__(self) -> None:
        if self.beam and self.n > self.beam:
            raise SettingError(f"n = {self.n}: must be at most beam = {self.beam}")


@dataclass(frozen=True)
class Generation(Brief):
    """One text that continues a prompt."""

    prompt: str
    text: str
    """The text after the prompt, up to the end mark or a stop string."""
    pieces: list[str]
    """The new pieces, including the end mark if the model generated it, and the pieces of a stop string."""
    ids: list[int]
    """The ids of ``pieces``."""
    log_probs: list[float]
    """The model's log-probability of each piece in nats, before temperature, penalties and banned words."""
    reason: Reason
    """Why it ended: end (the mark), length (``max_new``) or stop (a stop string)."""
    dropped: int = 0
    """Pieces at the start of the prompt that the model did not see."""
    unknown: int = 0
    """Pieces of the prompt that are not in the vocabulary."""
    accepted: float | None = None
    """Share of the draft model's pieces that the model accepted."""
    cut_better: bool = False
    """True if ``max_new`` cut off another text of a beam search, which has a better rank score; whole ones go first."""


@dataclass(frozen=True)
class Prompt:
    """An encoded prompt."""

    text: str
    ids: list[int]
    """One piece or more."""
    dropped: int
    unknown: int

    @classmethod
    def of(
        cls, text: str, tokenizer: Tokenizer, config: GenerationConfig, *, context: int | None, marks: bool
    ) -> "Prompt":
        """Encodes a prompt; one that is too long is cut on the left or refused.

        Args:
            text: the prompt.
            tokenizer: the model's tokenizer.
            config: its ``overlong`` decides what happens to a prompt that is too long.
            context: how many pieces the model can look back on; None for no limit.
            marks: whether the mark that begins a document comes before the prompt; before an empty one it always does.

        Raises:
            DataError: the prompt is too long under ``error``, or ``max_new`` leaves no room for any of it, or it has a
                lone surrogate.
        """
        pieces = tokenizer.encode(text)
        new = 0 if config.overlong == "window" else config.max_new
        room = len(pieces) if context is None else context - new
        start = max(0, len(pieces) - max(0, room))
        kept = pieces[tokenizer.border(pieces, start, later=True) :]
        if len(pieces) > room and (config.overlong == "error" or not kept):
            raise DataError(
                f"prompt {text[:40]!r}: has {len(pieces)} pieces, with max_new = {config.max_new} too many for the "
                f"context of {context}; lower max_new, or use overlong = 'window'"
            )
        begins = not pieces or (marks and len(kept) == len(pieces))
        return cls(text, [tokenizer.begin] * begins + kept, len(pieces) - len(kept), tokenizer.count_unknown(pieces))


class TextWriter:
    """Assembles one text from its pieces, passes on each part that can no longer change, and detects stop strings.

    Args:
        prompt: the prompt that the text continues.
        tokenizer: the model's tokenizer.
        stop: strings before which the text ends.
        on_text: called with each part of the text that can no longer change.
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
        """Takes the next pieces; returns whether the text now contains a stop string."""
        return self._take("".join(map(self._stream.push, pieces)))

    def finish(self, continuation: Continuation) -> Generation:
        """Passes on the rest of the text and returns all of it; an incomplete character at the limit is left out."""
        if continuation.reason != "stop":
            rest = self._stream.flush()
            if not self._take(rest.removesuffix("\ufffd") if continuation.reason == "length" else rest):
                self._give(self._stops.flush())
        return Generation(
            prompt=self.prompt.text,
            text="".join(self._parts),
            pieces=self._tokenizer.pieces(continuation.ids),
            ids=continuation.ids,
            log_probs=continuation.log_probs,
            reason=continuation.reason,
            dropped=self.prompt.dropped,
            unknown=self.prompt.unknown,
            accepted=continuation.accepted / continuation.drafted if continuation.drafted else None,
            cut_better=continuation.cut_better,
        )

    def _take(self, text: str) -> bool:
        part, over = self._stops.push(text)
        self._give(part)
        return over

    def _give(self, part: str) -> None:
        if part:
            self._parts.append(part)
            self._on_text(part)
