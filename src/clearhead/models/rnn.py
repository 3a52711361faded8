"""Recurrent networks, which the Transformer replaced: a language model, and translators with and without attention."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from clearhead.brief import Brief
from clearhead.models.gpt import Hidden, Ids, KeyMask, OfEach
from clearhead.models.transformer import Real, SrcIds, SrcMask, TgtIds, TgtMask
from clearhead.nn.attention import Additive
from clearhead.nn.dropout import Dropout
from clearhead.nn.embedding import Embedding
from clearhead.nn.init import initialize
from clearhead.nn.mask import padding_mask
from clearhead.ranges import Depth, Length, Rate, Size

States = Float[Tensor, "parts layers rows features"]


@dataclass(frozen=True)
class RNNConfig:
    """Sizes and parts of a recurrent model."""

    d_model: Size = 256
    """Features of an embedding and of a state; an encoder has half of them in each direction."""
    n_layers: Depth = 2
    """Number of layers, in a translator of the encoder and of the decoder each."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell: lstm (Hochreiter and Schmidhuber 1997) or gru (Cho et al. 2014, arXiv:1406.1078)."""
    attention: Literal["none", "additive"] = "additive"
    """What a translator's decoder sees of the source: none (one fixed vector) or additive (attention at each step)."""
    dropout: Rate = 0.1
    """Dropout on embeddings, between layers and before the output layer (Zaremba et al. 2014, arXiv:1409.2329)."""
    tie: bool = True
    """Whether the output layer shares the table of (target) embeddings."""
    max_seq_len: Length = 512
    """Longest sequence of one call, in pieces; a language model may continue beyond it from its state."""


@dataclass
class RNNState(Brief):
    """The state of an RNN after the pieces it has read; it takes the place of a ``KVCache`` and never grows."""

    states: States
    """h and c of an LSTM, h alone of a GRU: the axis ``parts``."""
    source: tuple[Tensor, ...] = ()
    """What a decoder sees of the source: tensors with one row per sentence, whatever the number of beams."""

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Makes row i continue from the state of row ``rows[i]``."""
        self.states = self.states.index_select(2, rows)

    def keep(self, sentences: Int[Tensor, " kept"], rows: Int[Tensor, " kept_rows"]) -> None:
        """Keeps only the given sentences and their rows, as ``KVCache.keep`` does."""
        self.reorder(rows)
        self.source = tuple(part.index_select(0, sentences) for part in self.source)

    def bytes_read(self) -> int:
        """Bytes that a step of one piece reads: the states and the source."""
        return self.bytes_written() + sum(part.numel() * part.element_size() for part in self.source)

    def bytes_written(self) -> int:
        """Bytes that a step of one piece writes: the new states."""
        return self.states.numel() * self.states.element_size()


Cache = RNNState | None


class Recurrent(nn.Module):
    """PyTorch's LSTM or GRU, with its states in one tensor; rows may have padding anywhere and several documents."""

    def __init__(self, d_in: int, d_out: int, config: RNNConfig, *, bidirectional: bool = False) -> None:
        super().__init__()
        kind, self.parts = (nn.LSTM, 2) if config.cell == "lstm" else (nn.GRU, 1)
        between = config.dropout if config.n_layers > 1 else 0.0
        sizes: dict[str, Any] = {"num_layers": config.n_layers, "dropout": between, "bidirectional": bidirectional}
        self.cells: nn.LSTM | nn.GRU = kind(d_in, d_out, batch_first=True, **sizes)

    def zeros(self, rows: int) -> States:
        """Returns the initial states of ``rows`` rows."""
        layers = self.cells.num_layers * (2 if self.cells.bidirectional else 1)
        return next(self.parameters()).new_zeros(self.parts, layers, rows, self.cells.hidden_size)

    def forward(
        self, x: Hidden, states: States | None, *, real: Real = None, documents: OfEach = None
    ) -> tuple[Float[Tensor, "batch seq d_out"], States]:
        """Continues from ``states`` (None: zero) and returns the outputs and the last states.

        Positions that are not ``real`` are skipped, and their outputs are zero; when the number in ``documents``
        changes, the states are reset to zero.
        """
        batch, seq, _ = x.shape
        states = self.zeros(batch) if states is None else states
        if documents is None and (real is None or real.all()):
            return self._read(x, states)
        # each run, the pieces that a row has of one document, becomes a packed sequence of its own
        at = torch.arange(batch * seq, device=x.device) if real is None else real.flatten().nonzero()[:, 0]
        numbers = torch.zeros_like(at) if documents is None else documents.flatten()[at]
        (of_run, _), lengths = torch.stack([at // seq, numbers]).unique_consecutive(dim=1, return_counts=True)
        rows, runs = of_run.unique_consecutive(return_counts=True)
        last = runs.cumsum(0) - 1
        begins = self.zeros(len(of_run)).index_copy(2, last - runs + 1, states[:, :, rows])
        packed = pack_sequence(x.flatten(0, 1)[at].split(lengths.tolist()), enforce_sorted=False)
        outputs, ends = self._read(packed, begins)
        read = torch.cat(unpack_sequence(outputs))
        placed = read.new_zeros(batch * seq, read.shape[1]).index_copy(0, at, read)
        return placed.view(batch, seq, -1), states.index_copy(2, rows, ends[:, :, last])

    def _read(self, x: Any, states: States) -> tuple[Any, States]:
        """Reads a tensor or packed sequences to the end; on a CPU in full precision, whatever autocast says.

        There oneDNN has an LSTM in half precision for the newest processors alone, and raises on all others.
        """
        device = states.device.type
        half = torch.is_autocast_enabled(device) and device != "cpu"
        kind = states.dtype if half else next(self.cells.parameters()).dtype
        before = states.to(kind)
        with torch.autocast(device, enabled=half):
            outputs, last = self.cells(x if half else x.to(kind), (*before,) if self.parts == 2 else before[0])
        last = torch.stack(last) if self.parts == 2 else last[None]
        return outputs, last.to(states.dtype)  # under autocast they are in half precision


class RNNLanguageModel(nn.Module):
    """Maps ids to logits of the next piece (Mikolov et al. 2010); takes the same arguments as ``GPT``."""

    needs_mask: ClassVar[bool] = False

    def __init__(self, config: RNNConfig, *, vocab_size: int, pad_id: int | None = None) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.embedding = _embedding(config, vocab_size, pad_id)
        self.rnn = Recurrent(config.d_model, config.d_model, config)
        self.dropout = Dropout(config.dropout)
        self.lm_head = _output_layer(config, self.embedding)
        initialize(self)

    def hidden(
        self, ids: Ids, *, mask: KeyMask = None, positions: OfEach = None, documents: OfEach = None, cache: Cache = None
    ) -> Hidden:
        """Returns the states that ``lm_head`` turns into logits.

        Arguments as in ``GPT.forward``; padding may be anywhere, ``positions`` are ignored, and each document is read
        from zero, except that the first one of a row continues from the cache.
        """
        real = None if mask is None else mask[:, -ids.shape[1] :]
        before = None if cache is None else cache.states
        outputs, states = self.rnn(self.embedding(ids), before, real=real, documents=documents)
        if cache is not None:
            cache.states = states
        return self.dropout(outputs)

    def forward(
        self, ids: Ids, *, mask: KeyMask = None, positions: OfEach = None, documents: OfEach = None, cache: Cache = None
    ) -> Float[Tensor, "batch seq vocab"]:
        """Returns logits; position t predicts the piece after ``ids[:, t]``. Arguments as in ``hidden``."""
        return self.lm_head(self.hidden(ids, mask=mask, positions=positions, documents=documents, cache=cache))

    def new_cache(self, rows: int, capacity: int = 64) -> RNNState:
        """Returns the initial state of ``rows`` sequences; ``capacity`` is ignored, since the state never grows."""
        return RNNState(self.rnn.zeros(rows))


class Alignment(nn.Module):
    """Attention with score = v . tanh(W query + U key) (Bahdanau et al. 2015, arXiv:1409.0473, section A.1.2).

    Hooks on ``core.tap`` see the weights [sentences, 1, rows per sentence, keys] of each step.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model)
        self.core = Additive(1, d_model)

    def forward(self, query: Tensor, keys: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """Returns the context of each row of ``query`` [rows, d_model]; rows of one sentence share its memory."""
        queries = self.q_proj(query).view(len(keys), 1, -1, query.shape[1])
        return self.core(queries, keys, memory, mask=mask).view_as(query)


class RNNDecoder(nn.Module):
    """Maps target ids to hidden states; with each piece it reads a context of the source.

    Without attention the context is the source's last state (Cho et al. 2014, arXiv:1406.1078; Sutskever et al. 2014,
    arXiv:1409.3215). With it, ``Alignment`` computes the context from the previous state; since the context enters the
    next state, training too runs step by step, and only the keys are projected once. The output is a maxout of state,
    context and piece: the deep output of Bahdanau et al. 2015 (section A.2.2).
    """

    def __init__(self, config: RNNConfig, vocab_size: int, pad_id: int) -> None:
        super().__init__()
        d_model = config.d_model
        self.embedding = _embedding(config, vocab_size, pad_id)
        self.rnn = Recurrent(2 * d_model, d_model, config)
        self.alignment = Alignment(d_model) if config.attention == "additive" else None
        self.readout = nn.Linear(3 * d_model, 2 * d_model)
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Ids, state: RNNState) -> Hidden:
        """Returns the hidden states of ``ids``, which continue from ``state``; ``state`` is updated in place."""
        x = self.embedding(ids)
        outputs, contexts = [], []
        for pieces in x.split(x.shape[1] if self.alignment is None else 1, dim=1):
            if self.alignment is None:
                context = state.source[0].repeat_interleave(len(x) // len(state.source[0]), dim=0)
            else:
                context = self.alignment(state.states[0, -1], *state.source)
            contexts.append(context[:, None].expand_as(pieces))
            output, state.states = self.rnn(torch.cat([pieces, contexts[-1]], dim=-1), state.states)
            outputs.append(output)
        deep = self.readout(torch.cat([torch.cat(outputs, dim=1), torch.cat(contexts, dim=1), x], dim=-1))
        return self.dropout(deep.unflatten(-1, (-1, 2)).amax(dim=-1))


class RNNTranslator(nn.Module):
    """Maps source and target ids to logits of the next target piece; takes the same arguments as ``Transformer``."""

    needs_tgt_mask: ClassVar[bool] = False

    def __init__(self, config: RNNConfig, *, src_vocab_size: int, vocab_size: int, pad_id: int = 0) -> None:
        super().__init__()
        d_model = config.d_model
        if d_model % 2:
            raise ValueError(f"model.d_model = {d_model}: must be even, half for each direction of the encoder")
        self.config, self.pad_id, self.vocab_size = config, pad_id, vocab_size
        self.src_embedding = _embedding(config, src_vocab_size, pad_id)
        self.encoder = Recurrent(d_model, d_model // 2, config, bidirectional=True)
        self.start = nn.Linear(d_model, self.encoder.parts * config.n_layers * d_model)
        self.decoder = RNNDecoder(config, vocab_size, pad_id)
        self.lm_head = _output_layer(config, self.decoder.embedding)
        initialize(self)

    def begin(self, src_ids: SrcIds, src_mask: SrcMask = None, *, beam: int = 1) -> RNNState:
        """Encodes sources and returns the state in which the decoder starts, with ``beam`` rows per sentence."""
        memory, states = self.encoder(self.src_embedding(src_ids), None, real=src_mask)
        summary = torch.cat([*states[0, -2:]], dim=-1)  # the last states of both directions of the last layer
        first = torch.tanh(self.start(summary)).unflatten(-1, (self.encoder.parts, self.config.n_layers, -1))
        first = first.movedim(0, 2).repeat_interleave(beam, dim=2)  # batch parts layers d -> parts layers rows d
        alignment = self.decoder.alignment
        if alignment is None:
            return RNNState(first, (summary,))
        real = torch.ones_like(src_ids, dtype=torch.bool) if src_mask is None else src_mask
        return RNNState(first, (alignment.k_proj(memory)[:, None], memory[:, None], padding_mask(real)))

    def hidden(
        self, src_ids: SrcIds, tgt_ids: TgtIds, *, src_mask: SrcMask = None, tgt_mask: TgtMask = None
    ) -> Float[Tensor, "batch tgt_seq d_model"]:
        """Returns the states that ``lm_head`` turns into logits; arguments as in ``Transformer.forward``."""
        if tgt_mask is not None and (tgt_mask[:, 1:] > tgt_mask[:, :-1]).any():
            raise ValueError(
                "tgt_mask is False before a real piece: padding must be on the right, where nothing sees it"
            )
        return self.decoder(tgt_ids, self.begin(src_ids, src_mask))

    def forward(
        self, src_ids: SrcIds, tgt_ids: TgtIds, *, src_mask: SrcMask = None, tgt_mask: TgtMask = None
    ) -> Float[Tensor, "batch tgt_seq vocab"]:
        """Returns logits; position t predicts the piece after ``tgt_ids[:, t]``. Arguments as in ``hidden``."""
        return self.lm_head(self.hidden(src_ids, tgt_ids, src_mask=src_mask, tgt_mask=tgt_mask))


def _embedding(config: RNNConfig, vocab_size: int, pad_id: int | None) -> Embedding:
    sizes: dict[str, Any] = {"max_seq_len": config.max_seq_len, "dropout": config.dropout}
    return Embedding(vocab_size, config.d_model, pad_id=pad_id, position="none", **sizes)


def _output_layer(config: RNNConfig, embedding: Embedding) -> nn.Linear:
    layer = nn.Linear(config.d_model, embedding.tokens.num_embeddings, bias=False)
    if config.tie:
        layer.weight = embedding.tokens.weight
    return layer
