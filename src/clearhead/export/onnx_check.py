"""Compares ONNX graphs with the models that they were written from, in ONNX Runtime, over a grid of shapes and padding.

Numbers of batches, of pieces and of cached pieces that a graph has fixed by mistake, or a mask that is wrong at the
first or the last position, show on this grid and not on one example.
"""

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from clearhead.errors import ModelError
from clearhead.export.onnx_models import Exportable, Unit
from clearhead.models.bert import Bert, BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.nn.mask import padding_mask, positions_of

BOUND = 1e-4
"""The largest difference, of numbers up to 10; of larger ones the same share."""
_BATCHES, _LENGTHS, _PAST, _NEW = (1, 2, 5), (1, 2, 7), (0, 1, 5), (1, 2)
_LONGEST = 512  # of a longer model the end of the table is not reached: scores grow with the square
Case = tuple[str, Tensor, Tensor]
"""What was computed, there and here."""
Arrays = dict[str, np.ndarray[Any, Any]]


class Session:
    """A graph that ONNX Runtime has loaded.

    Args:
        path: the file.

    Raises:
        ModelError: ONNX Runtime refuses it.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting must not keep a core busy
        options.log_severity_level = 4
        try:
            self._loaded = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the classes of its errors have no public name
            raise ModelError(f"ONNX Runtime refuses {path.name}: {' '.join(str(error).split())[:200]}") from error
        self.inputs = {value.name: value for value in self._loaded.get_inputs()}
        self.outputs = [value.name for value in self._loaded.get_outputs()]

    def run(self, **given: Tensor) -> dict[str, Tensor]:
        """Returns all outputs by name; an input that is not given is an empty cache."""
        feeds = {name: value.numpy() for name, value in given.items()}
        rows = len(given["input_ids"])
        for name, value in self.inputs.items():
            if name not in feeds:
                sizes = (rows, *(size if isinstance(size, int) else 0 for size in value.shape[1:]))
                feeds[name] = np.zeros(sizes, np.float32)
        results = self._loaded.run(None, feeds)
        return {name: torch.from_numpy(result) for name, result in zip(self.outputs, results, strict=True)}


@torch.inference_mode()
def check_grid(model: Exportable, sessions: Mapping[str, Session], unit: Unit) -> float:
    """Returns the largest difference between a model and its graphs.

    Args:
        model: in evaluation mode.
        sessions: its graphs by the names that ``graphs_of`` gives them.
        unit: the scale of a model for numbers.

    Raises:
        ModelError: a difference is above ``BOUND``.
    """
    draw, largest = torch.Generator().manual_seed(0), 0.0
    for what, there, here in _cases(model, sessions, unit, draw):
        gap = float((there - here).abs().max()) if here.numel() else 0.0
        bound = BOUND * max(1.0, float(here.abs().max()) / 10) if here.numel() else BOUND
        if not gap <= bound:  # nor where it is no number
            raise ModelError(f"ONNX: {what}: differs from clearhead's own result by {gap:.1e}: must be at most {bound}")
        largest = max(largest, gap)
    return largest


def _cases(model: Exportable, sessions: Mapping[str, Session], unit: Unit, draw: torch.Generator) -> Iterator[Case]:
    match model:
        case Transformer():
            return _translator(model, sessions["encoder_model"], sessions["decoder_model_merged"], draw)
        case GPT():
            return _language_model(model, sessions["model"], draw)
        case Bert() | BertPretraining() | BertClassifier():
            return _bert(model, sessions["model"], unit, draw)


def _translator(model: Transformer, encoder: Session, decoder: Session, draw: torch.Generator) -> Iterator[Case]:
    limit, sources = model.config.max_seq_len, model.encoder.embedding.tokens.num_embeddings
    for rows, length in itertools.product(_BATCHES, _lengths(limit)):
        if length > max(_LENGTHS) and rows != 2:
            continue
        ids, mask = _ids(sources, rows, length, draw), _padded(rows, length)
        states = encoder.run(input_ids=ids, attention_mask=mask.long())["last_hidden_state"]
        memory = model.encoder(ids, mask)
        yield f"encoder, {rows} rows of {length} pieces", states[mask], memory[mask]
        cross, seen = model.decoder.keys_values(memory), padding_mask(mask)
        for before, new in itertools.product(_PAST, _NEW) if length < limit - 1 else [(0, _lengths(limit)[-1])]:
            if before + new > limit:
                continue
            written = _ids(model.vocab_size, rows, before + new, draw)
            here = model.lm_head(model.decoder(written, cross, memory_mask=seen))[:, before:]
            given = {"encoder_hidden_states": states, "encoder_attention_mask": mask.long()}
            there = _continued(decoder, written, before, given)
            yield f"decoder, {rows} rows of {length} pieces, {before} and {new} written", there, here


def _continued(decoder: Session, written: Tensor, before: int, given: dict[str, Tensor]) -> Tensor:
    """Returns the logits of all but the first ``before`` pieces, which are read first and then cached."""
    past: dict[str, Tensor] = {}
    if before:
        step = decoder.run(input_ids=written[:, :before], use_cache_branch=torch.tensor([False]), **given)
        past = _past(step)
    rest = decoder.run(input_ids=written[:, before:], use_cache_branch=torch.tensor([before > 0]), **given, **past)
    return rest["logits"]


def _language_model(model: GPT, session: Session, draw: torch.Generator) -> Iterator[Case]:
    limit = model.config.max_seq_len
    grid = [(rows, before, new) for rows in _BATCHES for before in _PAST for new in _NEW]
    grid += [(2, 0, length) for length in _lengths(limit)]
    for (rows, before, new), side in itertools.product(grid, ("left", "right")):
        if before + new > limit or (before and side == "right"):
            continue
        ids, mask = _ids(model.vocab_size, rows, before + new, draw), _padded(rows, before + new, side)
        here = model(ids, mask=mask)[:, before:]
        places, past = positions_of(mask), dict[str, Tensor]()
        if before:
            first = {"attention_mask": mask[:, :before].long(), "position_ids": places[:, :before]}
            past = _past(session.run(input_ids=ids[:, :before], **first))
        rest = {"attention_mask": mask.long(), "position_ids": places[:, before:]}
        there = session.run(input_ids=ids[:, before:], **rest, **past)["logits"]
        real = mask[:, before:]
        yield f"{rows} rows with padding {side}, {before} and {new} pieces", there[real], here[real]


def _bert(
    model: Bert | BertPretraining | BertClassifier, session: Session, unit: Unit, draw: torch.Generator
) -> Iterator[Case]:
    lengths = _lengths(model.config.max_seq_len)
    for rows, length, side in itertools.product(_BATCHES, lengths, ("right", "left")):
        ids, mask = _ids(model.vocab_size, rows, length, draw), _padded(rows, length, side)
        segments = torch.randint(model.config.n_segments, ids.shape, generator=draw)
        results = session.run(input_ids=ids, attention_mask=mask.long(), token_type_ids=segments)
        what = f"{rows} rows of {length} pieces with padding {side}"
        if isinstance(model, BertClassifier):
            here = model(ids, mask=mask, segments=segments) * unit.deviation + unit.mean
            there = results["logits"]
            each = there.ndim == 3
            yield what, there[mask] if each else there, here[mask] if each else here
            continue
        bert = model if isinstance(model, Bert) else model.bert
        states = bert(ids, mask=mask, segments=segments)
        yield what, results["last_hidden_state"][mask], states[mask]
        if isinstance(model, BertPretraining):
            yield what, results["logits"][mask], model.mlm_head(states[mask])


def _lengths(limit: int) -> list[int]:
    """Returns the lengths of texts to compare, the longest last: nearly as long as the model can read."""
    return [length for length in _LENGTHS if length < limit - 1] + [max(1, min(limit - 1, _LONGEST))]


def _ids(vocab_size: int, rows: int, length: int, draw: torch.Generator) -> Tensor:
    return torch.randint(vocab_size, (rows, length), generator=draw)


def _padded(rows: int, length: int, side: str = "right") -> Tensor:
    """Returns a mask in which each row has one real piece less than the row before, and the last row at least one."""
    counts = torch.tensor([max(1, length - row) for row in range(rows)])
    places = torch.arange(length)
    return places < counts[:, None] if side == "right" else places >= length - counts[:, None]


def _past(results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns what a step gave as keys and values, under the names by which the next one takes them."""
    return {name.replace("present", "past_key_values"): value for name, value in results.items() if "present" in name}
