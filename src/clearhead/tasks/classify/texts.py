"""Texts and pairs to classes or numbers, whatever holds the model; no torch."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, overload

from clearhead.arguments import checked
from clearhead.brief import Brief
from clearhead.data.labels.labels import Labels
from clearhead.data.segments import EncodedTexts, check_rows, encode_texts
from clearhead.errors import DataError, OnError, attempt_each, refuse
from clearhead.tasks.classify.native import Predicted, predict_natively
from clearhead.tasks.native import NativeUser
from clearhead.text.overlong import OverlongLine
from clearhead.text.tokenizer import Tokenizer

Given = str | tuple[str, str]
"""A text, or a pair of texts."""


@dataclass(frozen=True)
class Classification(Brief):
    """The prediction for a text or a pair."""

    text: str
    pair: str | None
    label: str | None
    """The class of the highest probability; None where labels are numbers."""
    score: float
    """The probability of ``label``, or the predicted number."""
    probabilities: dict[str, float]
    """The probability of every class; empty where labels are numbers."""
    dropped: int = 0
    """How many pieces were cut off because the text was too long for the model."""


Numbered = Sequence[tuple[int, str, str | None]]
"""Texts, each with its number and the second text of a pair."""


@dataclass(frozen=True)
class Reading:
    """How a classifier reads a text, as its recipe says."""

    longest: int
    """Most pieces and marks of a text or pair."""
    overlong: OverlongLine
    """What happens to a longer one."""
    pooling: Literal["first", "mean"]
    """Which states stand for it."""


class TextClassifier(NativeUser):
    """What classifies texts: a tokenizer, labels, and a model that reads."""

    tokenizer: Tokenizer
    labels: Labels

    @property
    @abstractmethod
    def _reading(self) -> Reading:
        """How texts are read."""

    @overload
    def classify(self, given: Given, *, on_error: OnError = refuse) -> Classification: ...  # type: ignore[overload-overlap]

    @overload
    def classify(self, given: Iterable[Given], *, on_error: OnError = refuse) -> list[Classification]: ...

    @checked
    def classify(
        self, given: Given | Iterable[Given], *, on_error: OnError = refuse
    ) -> Classification | list[Classification]:
        """Classifies a text or a pair, or each of several, in order; a result does not depend on the other texts.

        Args:
            given: a text, or several; or pairs of texts, as the run was trained on. A tuple of two strings is a pair.
            on_error: called for a text that is empty, is a pair where the run takes single texts (or the reverse), is
                too long under the policy ``error`` of the recipe or has a lone surrogate; it then has neither label nor
                score. Without it such a text is an error.

        Returns:
            For a text or a pair its class, for anything else a list with that of each.

        Raises:
            UsageError: ``given`` is something else.
            DataError: a text cannot be classified, and there is no ``on_error``.
        """
        if isinstance(given, str | tuple):
            return self.classify([cast(Given, given)], on_error=on_error)[0]
        given = list(given)
        if not given:
            return []
        pairs = not isinstance(given[0], str) if self.labels.pairs is None else self.labels.pairs
        judged = [_unjudged(text) for text in given]
        numbered = [
            (number, *pair)
            for number, pair in enumerate(attempt_each(lambda text: _both(text, pairs=pairs), given, on_error))
            if pair is not None
        ]
        try:
            rows = self._encode(numbered)
        except DataError:  # of one or several, which the others need not wait for
            alone = attempt_each(
                lambda each: (each[0], self._encode([each])),
                numbered,
                lambda at, error: on_error(numbered[at][0], error),
            )
            good = {each[0] for each in alone if each}
            numbered = [each for each in numbered if each[0] in good]
            rows = self._encode(numbered)
        if rows is None:
            return judged
        predicted = self._predict(rows)
        for each, values, dropped in zip(numbered, predicted.tolist(), rows.cut.tolist(), strict=True):
            number, text, pair = each
            judged[number] = self._judged(text, pair, values, dropped)
        return judged

    def _encode(self, numbered: Numbered) -> EncodedTexts | None:
        """Encodes texts; None if there are none. Raises DataError if the model cannot read one of them."""
        if not numbered:
            return None
        first, second, limit = [text for _, text, _ in numbered], None, self._reading.longest
        if numbered[0][2] is not None:
            second = [pair or "" for _, _, pair in numbered]
        rows = encode_texts(first, second, tokenizer=self.tokenizer, max_seq_len=limit)
        places = [repr(text[:40]) for text in first]
        check_rows(rows, places, max_seq_len=limit, overlong=self._reading.overlong)
        return rows

    def _predict(self, rows: EncodedTexts) -> Predicted:
        """Returns for each row the probability of each class, or the number."""
        assert self._native is not None
        pooling, special = self._reading.pooling, self.tokenizer.ids
        return predict_natively(self._native, rows, self.labels, special, pooling=pooling, threads=self.threads)

    def _judged(self, text: str, pair: str | None, values: list[float], dropped: int) -> Classification:
        shares = dict(zip(self.labels.classes, values, strict=False))
        label = max(shares, key=shares.__getitem__) if shares else None
        value = values[0] if label is None else shares[label]
        return Classification(text, pair, label, value, shares, dropped)


def _unjudged(given: Given) -> Classification:
    text, pair = (given, None) if isinstance(given, str) else given
    return Classification(text, pair, None, float("nan"), {})


def _both(given: Given, *, pairs: bool) -> tuple[str, str | None]:
    """Returns a text, and the second one of a pair; raises DataError where they are not what the run reads."""
    text, pair = (given, None) if isinstance(given, str) else given
    if (pair is not None) != pairs:
        rule = "one text, but the run is for pairs" if pair is None else "two texts, but the run is for single ones"
        raise DataError(rule)
    if not text.strip() or (pair is not None and not pair.strip()):
        raise DataError("the text is empty")
    return text, pair
