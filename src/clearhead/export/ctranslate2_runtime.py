"""Runs a folder of CTranslate2's by its own package, on one thread."""

import logging
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clearhead.export.runtime import NO_HEADS, Exportable, FileRuntime, Outputs, Row
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer


class CTranslate2(FileRuntime):
    """A model that CTranslate2 has loaded.

    Args:
        folder: with ``model.bin`` and the tokenizers.
        model: what was written there, for its class.
        pieces: of the source and of the target, in order of id; of other models twice the same.
        ends: pieces that end a text.
        never: pieces that are in no text.

    Raises:
        ImportError: the package is not installed.
    """

    name = "ctranslate2"

    def __init__(
        self,
        folder: Path,
        model: Exportable,
        *,
        pieces: tuple[Sequence[str], Sequence[str]],
        ends: Sequence[int],
        never: Sequence[int],
    ) -> None:
        import ctranslate2

        self.version = version("ctranslate2")
        ctranslate2.set_log_level(logging.ERROR)  # it warns where a processor computes halves as whole numbers
        threads = {"inter_threads": 1, "intra_threads": 1}
        self.source, self.target = (list(each) for each in pieces)
        self._ids = {piece: index for index, piece in enumerate(self.target)}
        self.ends, self.never = [self.target[index] for index in ends], [[self.target[index]] for index in never]
        self.folder = folder
        match model:
            case Transformer():
                self._reader: Any = ctranslate2.Translator(str(folder), **threads)
                self.gives: Outputs = "log_probs"
            case GPT():
                self._reader, self.gives = ctranslate2.Generator(str(folder), **threads), "logits"
            case _:
                self._reader, self.gives = ctranslate2.Encoder(str(folder), **threads), "states"
                self.notes = (NO_HEADS,)

    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""
        if self.gives == "log_probs":
            targets = [[self.target[index] for index in (row.target or [])[1:]] for row in rows]
            results = self._reader.score_batch(self._sources(rows), targets, max_input_length=0)
            return [torch.tensor(result.log_probs) for result in results]
        ids = [row.ids for row in rows]
        if self.gives == "logits":
            computed = self._reader.forward_batch(ids)
        else:
            segments = [row.segments or [0] * len(row.ids) for row in rows]
            computed = self._reader.forward_batch(ids, token_type_ids=segments).last_hidden_state
        values = torch.from_numpy(np.array(computed)).float()
        return [values[number, : len(row.ids)] for number, row in enumerate(rows)]

    def _sources(self, rows: Sequence[Row]) -> list[list[str]]:
        """Returns the pieces of sources without the end mark, which the library adds."""
        return [[self.source[index] for index in row.ids[:-1]] for row in rows]

    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """See ``Runtime``."""
        words = {"beam_size": 1, "end_token": self.ends, "suppress_sequences": self.never}
        most = max(limits)
        if self.gives == "log_probs":
            results = self._reader.translate_batch(
                self._sources(rows), min_decoding_length=0, max_decoding_length=most, max_input_length=0, **words
            )
            written = [result.hypotheses[0] for result in results]
        elif self.gives == "logits":
            prompts = [[self.target[index] for index in row.ids] for row in rows]
            results = self._reader.generate_batch(prompts, max_length=most, include_prompt_in_result=False, **words)
            written = [result.sequences[0] for result in results]
        else:
            return None
        return [[self._ids[piece] for piece in pieces][:limit] for pieces, limit in zip(written, limits, strict=True)]
