"""Runs a folder in Hugging Face's layout by transformers."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from clearhead.export.ours import padded
from clearhead.export.runtime import Exportable, Outputs, Row, Runtime
from clearhead.models.bert import BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer


class HuggingFace(Runtime):
    """A model that transformers has loaded, by the class that ``config.json`` names.

    Args:
        folder: the folder.
        model: what was written there, for its class.

    Raises:
        ImportError: transformers is not installed.
    """

    name = "transformers"
    gives: Outputs = "logits"

    def __init__(self, folder: Path, model: Exportable) -> None:
        import transformers

        self.version = version("transformers")
        kinds: dict[type, Any] = {
            Transformer: transformers.AutoModelForSeq2SeqLM,
            GPT: transformers.AutoModelForCausalLM,
            BertPretraining: transformers.AutoModelForMaskedLM,
            BertClassifier: transformers.AutoModelForSequenceClassification,
        }
        with _quiet():
            self._model: Any = kinds[type(model)].from_pretrained(folder, dtype=torch.float32).eval()
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
        if isinstance(model, BertPretraining) and model.nsp_head is not None:
            self.notes = ("the next-sentence head was not compared",)
        self._crossed, self._one = isinstance(model, Transformer), isinstance(model, BertClassifier)

    @torch.inference_mode()
    def outputs(self, rows: Sequence[Row]) -> list[Tensor]:
        """See ``Runtime``."""
        ids, mask = padded([row.ids for row in rows])
        words: dict[str, Tensor] = {"input_ids": ids, "attention_mask": mask.long()}
        lengths = [len(row.ids) for row in rows]
        if self._crossed:
            words["decoder_input_ids"], _ = padded([row.target or [] for row in rows])
            lengths = [len(row.target or []) for row in rows]
        if any(row.segments for row in rows):
            words["token_type_ids"], _ = padded([row.segments or [0] * len(row.ids) for row in rows])
        logits = self._model(**words).logits
        if self._one:
            return list(logits[:, None])
        return [logits[number, :length] for number, length in enumerate(lengths)]

    @torch.inference_mode()
    def greedy(self, rows: Sequence[Row], limits: Sequence[int]) -> list[list[int]] | None:
        """See ``Runtime``: by ``generate`` with the settings in the folder."""
        if not self._model.can_generate() or self._one:
            return None
        settings = copy.deepcopy(self._model.generation_config)
        settings.max_length = None
        written: list[list[int]] = [[] for _ in rows]
        for batch in _groups(rows, alike=not self._crossed):
            ids, mask = padded([rows[number].ids for number in batch])
            settings.max_new_tokens = max(limits[number] for number in batch)
            with _quiet():
                texts = self._model.generate(ids, attention_mask=mask.long(), generation_config=settings).tolist()
            for number, text in zip(batch, texts, strict=True):
                written[number] = self._cut(text[1 if self._crossed else ids.shape[1] :], limits[number])
        return written

    def _cut(self, ids: list[int], limit: int) -> list[int]:
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        end = next((at for at, piece in enumerate(ids) if piece in ends), len(ids))
        return ids[: min(end, limit)]

    def encode(self, texts: Sequence[str]) -> list[list[int]] | None:
        """See ``Runtime``."""
        with _quiet():
            encoded: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return encoded

    def decode(self, ids: Sequence[Sequence[int]]) -> list[str] | None:
        """See ``Runtime``."""
        with _quiet():
            texts: list[str] = self._tokenizer.batch_decode([list(row) for row in ids], skip_special_tokens=True)
        return texts


def _groups(rows: Sequence[Row], *, alike: bool) -> Iterator[list[int]]:
    """Yields the numbers of at most 32 rows of like length; ``alike``: of the same length, without padding."""
    batch: list[int] = []
    for number in sorted(range(len(rows)), key=lambda at: len(rows[at].ids)):
        other = batch and alike and len(rows[batch[0]].ids) != len(rows[number].ids)
        if other or len(batch) == 32:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers from advising and from drawing bars."""
    from transformers.utils import logging as transformers_logging

    theirs: Any = transformers_logging

    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
