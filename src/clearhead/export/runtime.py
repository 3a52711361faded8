"""What an exported model is compared through: the rows that it reads, and what runs it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from clearhead.models.bert import Bert, BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer

OneStack = GPT | Bert | BertPretraining | BertClassifier
Exportable = Transformer | OneStack
"""Classes of models that other libraries compute; recurrent ones and counts have no format here."""
Outputs = Literal["logits", "log_probs", "states"]
"""What a runtime gives for a row: the logits of every position, or of its classes; the log-probability of each piece
that comes next in the row; or the last hidden state of every position."""


@dataclass(frozen=True)
class Row:
    """A text as a model reads it, special pieces included."""

    ids: list[int]
    """Pieces of the text; of a translator, of the source."""
    target: list[int] | None = None
    """Pieces that the decoder of a translator reads, its first mark included."""
    segments: list[int] | None = None
    """Which text of a pair each piece is of, for an encoder."""


NO_HEADS = "hidden states were compared: the folder has no heads, and quality is that of clearhead's on them"


class Runtime(ABC):
    """A library that has loaded an exported model and computes with it."""

    name: str
    """The library's name as pip spells it."""
    version: str
    gives: Outputs
    """What ``outputs`` returns."""
    notes: tuple[str, ...] = ()
    """What of the model this library does not show."""

    @abstractmethod
    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """Returns what the model computes for each row, see ``gives``: float32 [positions, width] or [positions]."""

    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """Writes on from each row by its most probable piece, by the library's own loop.

        Args:
            rows: of a translator the source counts, of a language model the row is the prompt.
            limits: most pieces of each, end mark included.

        Returns:
            The pieces that were written, without the end mark; None for a model that writes no text.
        """
        return None

    def encode(self, texts: Sequence[str]) -> list[list[int]] | None:
        """Returns the ids of texts by the tokenizer beside the model, special pieces included; None without one."""
        return None

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str] | None:
        """Returns texts by the tokenizer beside the model; None without one."""
        return None


class FileRuntime(Runtime):
    """A library without tokenizers: texts are cut and joined by the ``tokenizer.json`` beside the model."""

    folder: Path
    """Where the model is; where each side has its own pieces, with ``source_`` and ``target_tokenizer.json``."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See ``Runtime``."""
        encodings = self._tokenizer("source_").encode_batch(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """See ``Runtime``."""
        texts: list[str] = self._tokenizer("target_").decode_batch([list(row) for row in ids])
        return texts

    def _tokenizer(self, side: str) -> Any:
        """Returns the tokenizer of one side, or of both; names of special pieces in a text as its settings say."""
        from tokenizers import Tokenizer

        side = side if (self.folder / f"{side}tokenizer.json").is_file() else ""
        tokenizer = Tokenizer.from_file(str(self.folder / f"{side}tokenizer.json"))
        settings = json.loads((self.folder / f"{side}tokenizer_config.json").read_text(encoding="utf-8"))
        tokenizer.encode_special_tokens = bool(settings.get("split_special_tokens"))
        return tokenizer
