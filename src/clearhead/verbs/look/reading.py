"""One text before a model of any family: what it reads, what its pieces are called, what it says of them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clearhead.data.segments import collate_segments, marks
from clearhead.data.translation import Batch
from clearhead.errors import ModelError, UsageError
from clearhead.inspect.attend.inputs import EmbeddingView, embedding
from clearhead.inspect.attend.numbers import QueryView, query
from clearhead.inspect.attend.slopes import SoftmaxView, jacobian
from clearhead.inspect.call import call
from clearhead.inspect.heads import AttentionView, Kind, Prediction, Texts, attention
from clearhead.tasks.classify.classifier import Classifier
from clearhead.tasks.classify.family import reads_pair
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.translation.documents.preceding import parted
from clearhead.tasks.translation.translator import Translator
from clearhead.text.special import ABSENT, MASK
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.look.opened import Opened

HIDDEN = 32
"""Most pieces of a BERT's text that are hidden in turn, to see what a head is worth."""


@dataclass(frozen=True)
class Reading:
    """A text as a model reads it: one row without padding."""

    read: Callable[[], object]
    """Calls the model."""
    names: Callable[[Kind, int, int], Texts]
    predict: Callable[[], Prediction] | None
    """What the loss of a head is measured on; None: the model predicts nothing that the text holds."""
    note: str
    aligned: list[tuple[str, str]] | None = None
    """Of a translation, each piece with the source piece that it attended to most."""


def reading_of(opened: Opened, what: str) -> Reading:
    """Lays the text out as the model's family reads it.

    Raises:
        UsageError: there is no text.
        DataError: it has more pieces than the model has room for.
    """
    needs_text(opened, what)
    match opened.trained:
        case Translator() as trained:
            return _translation(opened, trained)
        case LanguageModel() as trained:
            return _text(opened, trained)
        case MaskedModel() as trained:
            return _masked(opened, trained)
        case Classifier() as trained:
            return _labelled(opened, trained)
    raise ModelError(f"view {what!r}: does not exist for a {opened.family.noun}")


def needs_text(opened: Opened, what: str) -> str:
    """Returns the text of a view that makes no sense without one.

    Raises:
        UsageError: there is none.
    """
    if opened.text is None:
        raise UsageError(f"view {what!r}: needs a TEXT behind it")
    return opened.text


def attention_of(opened: Opened, *, worth: bool = True) -> AttentionView:
    """See ``inspect.heads.attention``: a translation is the model's own, greedy.

    Args:
        opened: the run with its text.
        worth: whether each head is switched off in turn.
    """
    reading = reading_of(opened, "attention")
    predict = reading.predict if worth else None
    view = attention(opened.model, reading.read, names=reading.names, predict=predict, progress=opened.progress)
    return AttentionView(view.maps, view.texts, view.loss, reading.aligned, reading.note)


def embedding_of(opened: Opened) -> EmbeddingView:
    """See ``inspect.attend.inputs.embedding``."""
    reading = reading_of(opened, "embedding")
    pieces = [reading.names(kind, 0, 0).queries for kind in ("self", "causal")]  # of an encoder and of a decoder
    return embedding(opened.model, reading.read, pieces=pieces)


def query_of(opened: Opened) -> QueryView:
    """See ``inspect.attend.numbers.query``: the query that is chosen."""
    reading = reading_of(opened, "query")
    return query(opened.model, reading.read, pick=opened.choice.pick, names=reading.names)


def jacobian_of(opened: Opened) -> SoftmaxView:
    """See ``inspect.attend.slopes.jacobian``: of the scores of the query that is chosen."""
    reading = reading_of(opened, "jacobian")
    asked = query(opened.model, reading.read, pick=opened.choice.pick, names=reading.names)
    return jacobian(asked.scores, names=asked.keys, where=asked.title)


def _translation(opened: Opened, trained: Translator) -> Reading:
    batch = opened.batch
    assert isinstance(batch, Batch)
    src, tgt = trained.tokenizers.src, trained.tokenizers.tgt
    source, target = src.pieces(batch.src_ids[0].tolist()), tgt.pieces(batch.tgt_ids[0].tolist())

    def names(kind: Kind, queries: int, keys: int) -> Texts:
        return Texts(source if kind == "self" else target, target if kind == "causal" else source)

    def predict() -> Prediction:
        return Prediction(trained.model(batch.src_ids, batch.tgt_ids)[0], batch.targets[0])

    text = tgt.decode(batch.targets[0].tolist())
    note = f"{opened.text} -> {text}; a row of the decoder is the piece it reads, and looks where it finds the next"
    return Reading(lambda: trained.model(batch.src_ids, batch.tgt_ids), names, predict, note, _aligned(opened, trained))


def _aligned(opened: Opened, trained: Translator) -> list[tuple[str, str]] | None:
    trained = trained.leading
    context, text = parted(opened.text or "", trained.sides)
    translation = trained.translate([text], beam=1, split="never", context=context, alignment=True)[0]
    if translation.alignment is None:
        return None
    sources = [translation.source_pieces[at] for at in translation.alignment]
    return list(zip(translation.pieces, sources, strict=True))


def _text(opened: Opened, trained: LanguageModel) -> Reading:
    tokenizer, room = trained.tokenizer, trained.recipe.model.max_seq_len
    row = opened.sample.rows(tokenizer, room)[0]
    ids = torch.tensor([[tokenizer.begin, *row][-room - 1 :]], device=opened.device)
    shown = ids[:, :room] if ids.shape[1] > room else ids
    pieces = tokenizer.pieces(shown[0].tolist())

    def predict() -> Prediction:
        return Prediction(trained.model(ids[:, :-1])[0], ids[0, 1:])

    note = "each piece looks at itself and at those before it"
    return Reading(lambda: trained.model(shown), lambda *_: Texts(pieces, pieces), predict, note)


@dataclass(frozen=True)
class _Row:
    """A text, or two, as an encoder reads it."""

    inputs: dict[str, Tensor]
    pieces: list[str]
    text: Tensor
    """True at pieces of the text, False at marks."""


def _row(opened: Opened, tokenizer: Tokenizer, *, pair: bool) -> _Row:
    room = opened.recipe.model.max_seq_len - marks(pair=pair)
    return _laid(opened, tokenizer, opened.sample.rows(tokenizer, room, pair=pair))


def _laid(opened: Opened, tokenizer: Tokenizer, rows: list[list[int]]) -> _Row:
    laid = collate_segments(rows[:1], rows[1:2] or None, special=tokenizer.ids)
    ids, segments = (torch.from_numpy(part).to(opened.device) for part in (laid.ids, laid.segments))
    return _Row({"ids": ids, "segments": segments}, tokenizer.pieces(ids[0].tolist()), torch.from_numpy(laid.text)[0])


def _masked(opened: Opened, trained: MaskedModel) -> Reading:
    mask = trained.tokenizer.ids.mask
    row = _with_gaps(opened, trained) or _row(opened, trained.tokenizer, pair=False)

    def read() -> object:
        return call(trained.model, row.inputs)

    def names(*_: object) -> Texts:
        return Texts(row.pieces, row.pieces)

    places = (row.text & (row.inputs["ids"][0].cpu() != mask)).nonzero()[:, 0]
    if not len(places):
        return Reading(read, names, None, "each piece looks at all")
    places = places[:: max(1, -(-len(places) // HIDDEN))]
    note = f"each piece looks at all; loss: of {len(places)} pieces, each hidden in turn"
    return Reading(read, names, _hidden(trained, row.inputs, places, mask), note)


def _with_gaps(opened: Opened, trained: MaskedModel) -> _Row | None:
    """Returns a text with masks, as ``fill`` reads it; None if it has none."""
    tokenizer, text = trained.tokenizer, opened.text or ""
    if tokenizer.ids.mask == ABSENT or not any(name in text for name in (MASK, tokenizer.piece(tokenizer.ids.mask))):
        return None
    return _laid(opened, tokenizer, [trained._read(text)[1]])


def _labelled(opened: Opened, trained: Classifier) -> Reading:
    row = _row(opened, trained.tokenizer, pair=reads_pair(trained, opened.text))

    def read() -> Tensor:
        return call(trained.model, row.inputs)

    def names(*_: object) -> Texts:
        return Texts(row.pieces, row.pieces)

    if not trained.labels.classes:
        return Reading(read, names, None, "each piece looks at all")
    with torch.no_grad():
        label = read().flatten(0, -2).argmax(dim=-1)
    note = "each piece looks at all; loss: of the label that the whole model gives"
    return Reading(read, names, lambda: Prediction(read().flatten(0, -2), label), note)


def _hidden(trained: MaskedModel, inputs: dict[str, Tensor], places: Tensor, mask: int) -> Callable[[], Prediction]:
    ids = inputs["ids"].expand(len(places), -1).clone()
    rows = torch.arange(len(places), device=ids.device)
    targets = ids[rows, places]
    ids[rows, places] = mask
    at = torch.zeros_like(ids, dtype=torch.bool).index_put((rows, places), torch.tensor(True, device=ids.device))

    def predict() -> Prediction:
        segments = inputs["segments"].expand_as(ids)
        return Prediction(trained.model(ids, segments=segments, at=at).mlm, targets)

    return predict
