"""The encoder-only Transformer: BERT (Devlin et al. 2019, arXiv:1810.04805), its pretraining heads and classifiers."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.models.checks import check_sizes
from clearhead.models.ngram_logits import NgramLogits
from clearhead.models.stack import build_layers
from clearhead.nn.activation import build_activation
from clearhead.nn.dropout import Dropout
from clearhead.nn.embedding import SegmentedEmbedding
from clearhead.nn.init import initialize_normal
from clearhead.nn.layer import BlockConfig, EncoderLayer, final_norm
from clearhead.nn.mask import AttendMask, padding_mask, positions_of, with_bias
from clearhead.nn.norm import Norm, build_norm
from clearhead.nn.position import PositionName, build_score_bias
from clearhead.ranges import Depth, Length, Rate, Size

Ids = Int[Tensor, "batch seq"]
Real = Bool[Tensor, "batch seq"] | None
Segments = Int[Tensor, "batch seq"] | None
Hidden = Float[Tensor, "batch seq d_model"]
ClassifierKind = Literal["sequence", "regression", "token"]
Pooling = Literal["first", "mean"]
BertKind = Literal["encoder", "pooled", "pretraining", "masked", ClassifierKind]
"""What a model computes: hidden states (encoder), also a pooled one (pooled); logits of masked pieces and of the next
sentence (pretraining), or of masked pieces alone (masked); a label of a text (sequence), a number (regression), or a
label of each piece (token)."""


def bert_block() -> BlockConfig:
    """Returns the norm, activation and other parts of BERT's layers."""
    return BlockConfig(norm_position="post", norm_eps=1e-12, activation="gelu", attn_dropout=0.1)


@dataclass(frozen=True)
class BertConfig:
    """Sizes and parts of an encoder-only model."""

    d_model: Size = 384
    """Features of a hidden state."""
    d_ff: Size = 1536
    """Features inside the feed-forward network."""
    n_heads: Size = 6
    """Attention heads."""
    n_kv_heads: Size | None = None
    """Heads of keys and values: unset means n_heads (multi-head), fewer is grouped-query, 1 is multi-query."""
    n_layers: Depth = 6
    """Number of layers."""
    max_seq_len: Length = 512
    """Longest sequence, in pieces, including [CLS] and [SEP]."""
    n_segments: Size = 2
    """Rows of the table of segments: 2 distinguish the first text of a pair from the second."""
    dropout: Rate = 0.1
    """Dropout on the residual branches."""
    embed_dropout: Rate | None = None
    """Dropout on the embeddings; unset means ``dropout``."""
    head_dropout: Rate | None = None
    """Dropout before a classifier's output layer; unset means ``dropout``."""
    position: PositionName = "learned"
    """What tells the model where a piece stands."""
    block: BlockConfig = field(default_factory=bert_block)
    """What the layers are made of."""

    def __post_init__(self) -> None:
        check_sizes(self)


def first_of(states: Hidden, mask: Real = None) -> Float[Tensor, "batch d_model"]:
    """Returns the state of the first real piece of each row; ``mask`` is False at padding, None if there is none."""
    if mask is None:
        return states[:, 0]
    rows = torch.arange(len(states), device=states.device)
    return states[rows, mask.int().argmax(dim=1)]  # batch d_model


def mean_of(states: Hidden, mask: Real = None) -> Float[Tensor, "batch d_model"]:
    """Returns the mean of the states of each row's real pieces; ``mask`` as for ``first_of``."""
    if mask is None:
        return states.mean(dim=1)
    sums = states.masked_fill(~mask[..., None], 0.0).sum(dim=1)
    return sums / mask.sum(dim=1, keepdim=True)


class Pooler(nn.Module):
    """Makes one state of a sequence's states: tanh(linear(state of the first real piece, or mean of all)).

    Args:
        d_model: features of a state.
        pooling: ``first`` is BERT's: next-sentence pretraining has made that state a summary; ``mean`` works without
            such pretraining.
    """

    def __init__(self, d_model: int, *, pooling: Pooling = "first") -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, d_model)
        self.pool = first_of if pooling == "first" else mean_of

    def forward(self, states: Hidden, mask: Real = None) -> Float[Tensor, "batch d_model"]:
        """Pools ``states``; ``mask`` is False at padding, on either side, None if there is none."""
        return torch.tanh(self.proj(self.pool(states, mask)))


class NoPooler(nn.Module):
    """Takes the place of a pooler and returns the states of all positions unchanged."""

    def forward(self, states: Hidden, mask: Real = None) -> Hidden:
        """Returns ``states``."""
        return states


class Bert(nn.Module):
    """Maps ids to hidden states; heads call ``pooler`` to make one state of a sequence.

    Args:
        config: sizes and parts.
        vocab_size: pieces of the vocabulary.
        pad_id: the id of padding, whose embedding starts at zero; None: no padding.
        pooled: whether there is a pooler, for heads that classify whole sequences; otherwise ``pooler`` returns all
            states.
        pooling: the state that the pooler takes.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        vocab_size: int,
        pad_id: int | None = None,
        pooled: bool = True,
        pooling: Pooling = "first",
    ) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        block = config.block
        self.embedding = SegmentedEmbedding(
            vocab_size,
            config.d_model,
            pad_id=pad_id,
            max_seq_len=config.max_seq_len,
            n_segments=config.n_segments,
            norm=build_norm(block.norm, config.d_model, eps=block.norm_eps, groups=block.norm_groups),
            position=config.position,
            dropout=config.dropout if config.embed_dropout is None else config.embed_dropout,
        )
        self.score_bias = build_score_bias(config.position, config.n_heads)
        self.layers = build_layers(EncoderLayer, config, config.n_layers)
        self.norm = final_norm(block, config.d_model)
        self.pooler = Pooler(config.d_model, pooling=pooling) if pooled else NoPooler()
        # post-norm normalizes each residual sum; without that the sums grow with depth, so branches start smaller
        initialize_normal(self, n_layers=config.n_layers if block.norm_position == "pre" else None)

    def hidden(self, ids: Ids, *, mask: Real = None, segments: Segments = None) -> Hidden:
        """Returns the states of all positions; those at padding are finite but meaningless.

        Args:
            ids: [batch, seq].
            mask: [batch, seq], False at padding, which is left or right of the pieces, not between them. None: no
                padding.
            segments: [batch, seq], the segment of each piece; None: all pieces are of segment 0.
        """
        positions = None if mask is None else positions_of(mask)
        x = self.embedding(ids, segments=segments, positions=positions, real=mask)
        may_attend: AttendMask | None = None if mask is None else padding_mask(mask)
        if self.score_bias is not None:
            may_attend = with_bias(may_attend, self.score_bias(ids.shape[1], ids.shape[1]))
        for layer in self.layers:
            x = layer(x, mask=may_attend, real=mask)
        normed: Hidden = self.norm(x, mask)
        return normed

    def forward(self, ids: Ids, *, mask: Real = None, segments: Segments = None) -> Hidden:
        """Returns the result of ``hidden``; calling the model runs its forward hooks."""
        return self.hidden(ids, mask=mask, segments=segments)


class MlmHead(nn.Module):
    """Computes the logits of masked pieces: norm(act(linear(state))), then the embedding table plus a bias per piece.

    Its input is rows of states, so that logits are computed only for the pieces to predict, 15 % of all (Devlin et al.
    2019, 3.1).

    Args:
        config: sizes and parts.
        table: the embeddings, whose weight the output layer shares.
    """

    def __init__(self, config: BertConfig, *, table: nn.Embedding) -> None:
        super().__init__()
        self.proj = nn.Linear(config.d_model, config.d_model)
        self.activation = build_activation(config.block.activation)
        self.norm = _norm_of_rows(config)
        initialize_normal(self, n_layers=None)
        self.out_proj = nn.Linear(config.d_model, table.num_embeddings)
        self.out_proj.weight = table.weight
        nn.init.zeros_(self.out_proj.bias)

    def features(self, rows: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows d_model"]:
        """Returns the features that ``out_proj`` turns into logits."""
        normed: Tensor = self.norm(self.activation(self.proj(rows))[None])[0]  # 1 rows d_model -> rows d_model
        return normed

    def forward(self, rows: Float[Tensor, "rows d_model"]) -> Float[Tensor, "rows vocab"]:
        """Returns logits of hidden states, whichever positions they come from."""
        logits: Tensor = self.out_proj(self.features(rows))
        return logits


class LabelHead(nn.Module):
    """Dropout and a linear layer: [..., d_model] -> [..., n_labels]."""

    def __init__(self, d_model: int, *, n_labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.out_proj = nn.Linear(d_model, n_labels)
        initialize_normal(self, n_layers=None)

    def forward(self, states: Float[Tensor, "*any d_model"]) -> Float[Tensor, "*any n_labels"]:
        """Returns the logits of the labels, or the value for regression."""
        return self.out_proj(self.dropout(states))


class PretrainingLogits(NamedTuple):
    """The logits of ``BertPretraining`` for masked pieces and for pairs of texts."""

    mlm: Float[Tensor, "rows vocab"]
    """Logits of the pieces to predict, ordered by row and position."""
    nsp: Float[Tensor, "batch 2"] | None
    """Column 0: the second segment follows the first; column 1: it is from elsewhere. None without that head."""


class BertPretraining(nn.Module):
    """BERT with the heads that it is pretrained with: masked-piece prediction and next-sentence prediction.

    Args:
        config: sizes and parts.
        vocab_size: pieces of the vocabulary.
        pad_id: the id of padding; None: no padding.
        nsp: whether there is next-sentence prediction, which later models leave out (Liu et al. 2019,
            arXiv:1907.11692); without it there is no pooler either.
    """

    def __init__(self, config: BertConfig, *, vocab_size: int, pad_id: int | None = None, nsp: bool = True) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.bert = Bert(config, vocab_size=vocab_size, pad_id=pad_id, pooled=nsp)
        self.mlm_head = MlmHead(config, table=self.bert.embedding.tokens)
        self.nsp_head = LabelHead(config.d_model, n_labels=2) if nsp else None

    def forward(self, ids: Ids, *, mask: Real = None, segments: Segments = None, at: Real = None) -> PretrainingLogits:
        """Returns the logits of the pieces at ``at`` and of the pairs.

        Args:
            ids: [batch, seq], in which some pieces are masked.
            mask: [batch, seq], False at padding, on either side; None: no padding.
            segments: [batch, seq], the segment of each piece; None: all pieces are of segment 0.
            at: [batch, seq], True where the piece is to be predicted; None: everywhere.
        """
        states = self.bert(ids, mask=mask, segments=segments)
        rows = states.flatten(0, 1) if at is None else states[at]  # batch seq d_model -> rows d_model
        nsp = None if self.nsp_head is None else self.nsp_head(self.bert.pooler(states, mask))
        return PretrainingLogits(self.mlm_head(rows), nsp)


class BertClassifier(nn.Module):
    """BERT with one output layer, for fine-tuning (Devlin et al. 2019, section 4).

    Args:
        config: sizes and parts.
        vocab_size: pieces of the vocabulary.
        kind: sequence (a label for a text or a pair), regression (a number for it) or token (a label for each piece).
        n_labels: classes; 1 for regression.
        pad_id: the id of padding; None: no padding.
        pooling: the state that represents a whole sequence; ignored for tokens.
        ngrams: pieces of the longest run that speaks for a label by itself, see ``NgramLogits``; 0: none.
        ngram_rows: of the table of these runs.
    """

    def __init__(
        self,
        config: BertConfig,
        *,
        vocab_size: int,
        kind: ClassifierKind,
        n_labels: int,
        pad_id: int | None = None,
        pooling: Pooling = "first",
        ngrams: int = 0,
        ngram_rows: int = 2**17,
    ) -> None:
        super().__init__()
        if n_labels < 1 or (kind == "regression" and n_labels != 1):
            raise ValueError(f"n_labels = {n_labels}: must be 1 for regression, and otherwise at least 1")
        if ngrams and kind == "token":
            raise ValueError(f"ngrams = {ngrams}: runs of pieces speak for the label of a whole text, not of a piece")
        self.config, self.vocab_size, self.kind, self.n_labels = config, vocab_size, kind, n_labels
        self.bert = Bert(config, vocab_size=vocab_size, pad_id=pad_id, pooled=kind != "token", pooling=pooling)
        dropout = config.dropout if config.head_dropout is None else config.head_dropout
        self.head = LabelHead(config.d_model, n_labels=n_labels, dropout=dropout)
        self.ngrams = NgramLogits(n_labels, longest=ngrams, rows=ngram_rows, dropout=dropout) if ngrams else None

    def forward(
        self, ids: Ids, *, mask: Real = None, segments: Segments = None, apart: bool = False
    ) -> Float[Tensor, "rows n_labels"] | Float[Tensor, "batch seq n_labels"]:
        """Returns logits, or values for regression: [batch, n_labels], or [batch, seq, n_labels] for tokens.

        Args:
            ids: [batch, seq].
            mask: [batch, seq], False at padding, on either side; None: no padding.
            segments: [batch, seq], the segment of each piece; None: all pieces are of segment 0.
            apart: the encoder's rows and then those of the n-grams, [2 * batch, n_labels], instead of their mean.
        """
        states = self.bert(ids, mask=mask, segments=segments)
        logits: Tensor = self.head(self.bert.pooler(states, mask))
        if self.ngrams is None:
            return logits
        counted = self.ngrams(ids, mask=mask, segments=segments)
        return torch.cat([logits, counted]) if apart else (logits + counted) / 2


def build_bert(
    kind: BertKind, config: BertConfig, *, vocab_size: int, n_labels: int = 1, pad_id: int | None = None
) -> Bert | BertPretraining | BertClassifier:
    """Builds an encoder-only model by its kind; ``n_labels`` is for classifiers."""
    match kind:
        case "encoder" | "pooled":
            return Bert(config, vocab_size=vocab_size, pad_id=pad_id, pooled=kind == "pooled")
        case "pretraining" | "masked":
            return BertPretraining(config, vocab_size=vocab_size, pad_id=pad_id, nsp=kind == "pretraining")
        case "sequence" | "regression" | "token":
            return BertClassifier(config, vocab_size=vocab_size, kind=kind, n_labels=n_labels, pad_id=pad_id)


def _norm_of_rows(config: BertConfig) -> Norm:
    """The block's norm where it looks at one position alone; rows from anywhere have no others to look at."""
    block, d_model = config.block, config.d_model
    norm = build_norm(block.norm, d_model, eps=block.norm_eps, groups=block.norm_groups)
    return build_norm("layer", d_model, eps=block.norm_eps) if norm.needs_mask else norm
