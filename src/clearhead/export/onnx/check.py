"""Compares ONNX graphs with the models that they were written from, in ONNX Runtime, over a grid of shapes and padding.

Numbers of batches, of pieces and of cached pieces that a graph has fixed by mistake, or a mask that is wrong at the
first or the last position, show on this grid and not on one example.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from clearhead.errors import ModelError
from clearhead.export.onnx.models import Unit
from clearhead.export.onnx.runtime import Past, past_of
from clearhead.export.runtime import Exportable
from clearhead.models.bert import Bert, BertClassifier, BertPretraining
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.nn.mask import padding_mask, positions_of

BOUND = 1e-4
"""The largest difference, of numbers up to 10; of larger ones the same share."""
_BATCHES, _LENGTHS, _PAST, _NEW = (1, 2, 5), (1, 2, 7), (0, 1, 5), (1, 2)
_TEXT = _PAST[-1] + _NEW[-1]
_LONGEST = 512  # of a longer model the end of the table is not reached: scores grow with the square
Case = tuple[str, Tensor, Tensor]
"""What was computed, there and here."""


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

    def run(self, **given: Tensor) -> Past:
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
    for rows, length in _shapes(limit):
        ids, mask = _ids(sources, rows, length, draw), _padded(rows, length)
        states = encoder.run(input_ids=ids, attention_mask=mask.long())["last_hidden_state"]
        memory = model.encoder(ids, mask)
        yield f"encoder, {rows} rows of {length} pieces", states[mask], memory[mask]
        written = _ids(model.vocab_size, rows, max(length, min(limit, _TEXT)), draw)
        cross, seen = model.decoder.keys_values(memory), padding_mask(mask)
        logits = model.lm_head(model.decoder(written, cross, memory_mask=seen))
        given = {"encoder_hidden_states": states, "encoder_attention_mask": mask.long()}

        def read(first: int, end: int, past: Past, ids: Tensor = written, given: Past = given) -> Past:
            branch = torch.tensor([bool(past)])
            return decoder.run(input_ids=ids[:, first:end], use_cache_branch=branch, **given, **past)

        for first, there in _in_parts(written.shape[1], read):
            here = logits[:, first : first + there.shape[1]]
            yield f"decoder, {rows} rows of {length} pieces, {first} and {there.shape[1]} written", there, here


def _language_model(model: GPT, session: Session, draw: torch.Generator) -> Iterator[Case]:
    for (rows, length), side in itertools.product(_shapes(model.config.max_seq_len), ("left", "right")):
        ids, mask = _ids(model.vocab_size, rows, length, draw), _padded(rows, length, side)
        places, logits = positions_of(mask), model(ids, mask=mask)

        def read(
            first: int, end: int, past: Past, ids: Tensor = ids, mask: Tensor = mask, places: Tensor = places
        ) -> Past:
            given = {"attention_mask": mask[:, :end].long(), "position_ids": places[:, first:end]}
            return session.run(input_ids=ids[:, first:end], **given, **past)

        for first, there in _in_parts(length, read) if side == "left" else [(0, read(0, length, {})["logits"])]:
            part = slice(first, first + there.shape[1])
            what = f"{rows} rows with padding {side}, {first} and {there.shape[1]} pieces"
            yield what, there[mask[:, part]], logits[:, part][mask[:, part]]


def _in_parts(length: int, read: Callable[[int, int, Past], Past]) -> Iterator[tuple[int, Tensor]]:
    """Yields logits of parts of a text that stand behind cached pieces: where a part begins, and its logits.

    Args:
        length: of the text, which is read as a whole in the end.
        read: returns all results for the pieces from one position up to another, behind a cache.
    """
    for first in _PAST:
        past = past_of(read(0, first, {})) if 0 < first < length else {}
        for new in _NEW:
            if first + new <= length:
                yield first, read(first, first + new, past)["logits"]
    yield 0, read(0, length, {})["logits"]


def _bert(
    model: Bert | BertPretraining | BertClassifier, session: Session, unit: Unit, draw: torch.Generator
) -> Iterator[Case]:
    for (rows, length), side in itertools.product(_shapes(model.config.max_seq_len), ("right", "left")):
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


def _shapes(limit: int) -> list[tuple[int, int]]:
    """Returns numbers of rows and lengths to compare; two rows are nearly as long as the model can read."""
    lengths = [length for length in _LENGTHS if length < limit]
    return [*itertools.product(_BATCHES, lengths or [1]), (2, max(1, min(limit - 1, _LONGEST)))]


def _ids(vocab_size: int, rows: int, length: int, draw: torch.Generator) -> Tensor:
    return torch.randint(vocab_size, (rows, length), generator=draw)


def _padded(rows: int, length: int, side: str = "right") -> Tensor:
    """Returns a mask in which each row has one real piece less than the row before, and the last row at least one."""
    counts = torch.tensor([max(1, length - row) for row in range(rows)])
    places = torch.arange(length)
    return places < counts[:, None] if side == "right" else places >= length - counts[:, None]
