"""Runs an ONNX folder by ONNX Runtime alone: all positions at once, and greedy texts piece by piece with the cache."""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clearhead.export.onnx.write import FOLDER, SUFFIX
from clearhead.export.ours import in_batches, padded, written_greedily
from clearhead.export.runtime import Exportable, FileRuntime, Outputs, Row
from clearhead.models.bert import Bert, BertClassifier
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.nn.mask import positions_of

Past = dict[str, Tensor]
"""Results of a step, or the keys and values that the next one takes, by name."""


class OnnxRuntime(FileRuntime):
    """The graphs of a folder, in their smallest form.

    Args:
        folder: the folder.
        model: what was written there, for its class.
        ends: pieces that end a text.
        never: pieces that are in no text.

    Raises:
        ImportError: ONNX Runtime is not installed.
        ModelError: it refuses a graph.
    """

    name = "onnxruntime"

    def __init__(self, folder: Path, model: Exportable, *, ends: Sequence[int], never: Sequence[int]) -> None:
        from clearhead.export.onnx.check import Session

        self.version = version("onnxruntime")
        self.folder, self.ends, self.never = folder, list(ends), list(never)
        self.gives: Outputs = "states" if isinstance(model, Bert) else "logits"
        self._crossed, self._writes = isinstance(model, Transformer), isinstance(model, Transformer | GPT)
        self._one = isinstance(model, BertClassifier) and model.kind != "token"
        names = ("encoder_model", "decoder_model_merged") if self._crossed else ("model",)
        paths = {suffix: [folder / FOLDER / f"{name}{suffix}.onnx" for name in names] for suffix in SUFFIX.values()}
        smallest = [files for files in paths.values() if all(path.is_file() for path in files)][-1]
        self._first, self._last = (Session(path) for path in (smallest[0], smallest[-1]))

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""

        def own(batch: list[int]) -> list[Tensor]:
            part = [rows[number] for number in batch]
            return [
                values[None] if self._one else values[: len(row.target or row.ids)]
                for row, values in zip(part, self._computed(part), strict=True)
            ]

        return in_batches(rows, own)

    def _computed(self, rows: Sequence[Row]) -> Tensor:
        ids, mask = padded([row.ids for row in rows])
        given = {"input_ids": ids, "attention_mask": mask.long()}
        if self._crossed:
            target, _ = padded([row.target or [] for row in rows])
            return self._last.run(input_ids=target, use_cache_branch=torch.tensor([False]), **self._memory(given))[
                "logits"
            ]
        if self._writes:
            return self._last.run(**given, position_ids=positions_of(mask))["logits"]
        segments, _ = padded([row.segments or [0] * len(row.ids) for row in rows])
        name = "last_hidden_state" if self.gives == "states" else "logits"
        return self._last.run(**given, token_type_ids=segments)[name]

    def _memory(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns what the decoder reads of the sources."""
        states = self._first.run(**given)["last_hidden_state"]
        return {"encoder_hidden_states": states, "encoder_attention_mask": given["attention_mask"]}

    @torch.inference_mode()
    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """See ``Runtime``."""
        if not self._writes:
            return None
        return in_batches(rows, lambda batch: self._written([rows[at] for at in batch], [limits[at] for at in batch]))

    def _written(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]]:
        text: Translating | Writing
        if self._crossed:
            ids, mask = padded([row.ids for row in rows])
            text = Translating(self._last, self._memory({"input_ids": ids, "attention_mask": mask.long()}))
            logits = text.advance(torch.tensor([(row.target or [0])[0] for row in rows]))
        else:
            text = Writing(self._last, [row.ids for row in rows])
            logits = text.logits
        return written_greedily(logits, text.advance, limits, ends=self.ends, never=self.never)


class Translating:
    """Translations under way: ``advance`` reads a piece of each and returns the logits of the next.

    Args:
        decoder: the session of the merged decoder.
        memory: what it reads of the sources.
    """

    def __init__(self, decoder: Any, memory: dict[str, Tensor]) -> None:
        self._decoder, self._memory = decoder, memory
        self._past: Past = {}

    def advance(self, pieces: Tensor) -> Tensor:
        """Reads ``pieces`` [rows]; returns logits [rows, vocab]."""
        branch = torch.tensor([bool(self._past)])
        given = {"input_ids": pieces[:, None], "use_cache_branch": branch}
        results = self._decoder.run(**given, **self._memory, **self._past)
        self._past = past_of(results)
        logits: Tensor = results["logits"][:, -1]
        return logits


class Writing:
    """Texts under way behind prompts, which are padded on the left: ``logits`` are those of the first new piece.

    Args:
        model: the session.
        prompts: pieces of each text.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]]) -> None:
        self._model = model
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(row)) + list(row) for row in prompts])
        self._mask = torch.arange(longest) >= longest - torch.tensor([[len(row)] for row in prompts])
        self._past: Past = {}
        self.logits = self._read(ids)

    def advance(self, pieces: Tensor) -> Tensor:
        """Reads ``pieces`` [rows]; returns logits [rows, vocab]."""
        self._mask = torch.cat([self._mask, torch.ones_like(self._mask[:, :1])], dim=1)
        return self._read(pieces[:, None])

    def _read(self, ids: Tensor) -> Tensor:
        places = positions_of(self._mask)[:, -ids.shape[1] :]
        given = {"input_ids": ids, "attention_mask": self._mask.long(), "position_ids": places}
        results = self._model.run(**given, **self._past)
        self._past = past_of(results)
        logits: Tensor = results["logits"][:, -1]
        return logits


def past_of(results: Past) -> Past:
    """Returns what a step gave as keys and values, under the names by which the next one takes them."""
    return {name.replace("present", "past_key_values"): value for name, value in results.items() if "present" in name}
