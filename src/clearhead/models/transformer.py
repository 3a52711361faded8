"""The encoder-decoder Transformer of 2017 (Vaswani et al., arXiv:1706.03762) and its variants."""

from dataclasses import dataclass, field
from typing import Literal, cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.models.checks import check_sizes
from clearhead.models.stack import build_layers
from clearhead.nn.cache import KeysValues, KVCache
from clearhead.nn.embedding import Embedding
from clearhead.nn.init import initialize
from clearhead.nn.layer import BlockConfig, DecoderLayer, EncoderLayer, final_norm
from clearhead.nn.mask import AttendMask, MemoryMask, causal_padding_mask, padding_mask, positions_of, with_bias
from clearhead.nn.norm import norms_of
from clearhead.nn.position import PositionName, build_score_bias
from clearhead.ranges import Depth, Length, Rate, Size

Ids = Int[Tensor, "batch seq"]
Real = Bool[Tensor, "batch seq"] | None
Hidden = Float[Tensor, "batch seq d_model"]
SrcIds = Int[Tensor, "batch src_seq"]
TgtIds = Int[Tensor, "batch tgt_seq"]
SrcMask = Bool[Tensor, "batch src_seq"] | None
TgtMask = Bool[Tensor, "batch tgt_seq"] | None


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes and parts of an encoder-decoder."""

    d_model: Size = 256
    """Features of a hidden state."""
    d_ff: Size = 1024
    """Features inside the feed-forward network."""
    n_heads: Size = 4
    """Attention heads."""
    n_kv_heads: Size | None = None
    """Heads of keys and values: unset means n_heads (multi-head), fewer is grouped-query, 1 is multi-query."""
    n_encoder_layers: Depth = 3
    """Number of encoder layers."""
    n_decoder_layers: Depth = 3
    """Number of decoder layers."""
    max_seq_len: Length = 512
    """Longest source and target, in pieces, including the begin and end marks."""
    dropout: Rate = 0.1
    """Dropout on the residual branches."""
    embed_dropout: Rate | None = None
    """Dropout on the embeddings; unset means ``dropout``."""
    position: PositionName = "sinusoidal"
    """What tells the model where a piece stands."""
    tie: Literal["all", "decoder", "none"] = "all"
    """Which tables are shared: all (source, target and output; needs a joint vocabulary), decoder (target and output)
    or none."""
    block: BlockConfig = field(default_factory=BlockConfig)
    """What the layers are made of."""

    def __post_init__(self) -> None:
        check_sizes(self)


class Encoder(nn.Module):
    """Maps source ids to the memory: embedding, N encoder layers, and a final norm if the layers are pre-norm."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.score_bias = build_score_bias(config.position, config.n_heads)
        self.layers = build_layers(EncoderLayer, config, config.n_encoder_layers)
        self.norm = final_norm(config.block, config.d_model)

    def forward(self, ids: Ids, real: Real = None) -> Hidden:
        """Encodes ``ids`` [batch, seq]; ``real`` is False at padding, None if there is none."""
        mask: AttendMask | None = None if real is None else padding_mask(real)
        if self.score_bias is not None:
            mask = with_bias(mask, self.score_bias(ids.shape[1], ids.shape[1]))
        x = self.embedding(ids, positions=None if real is None else positions_of(real))
        for layer in self.layers:
            x = layer(x, mask=mask, real=real)
        return self.norm(x, real)


class Decoder(nn.Module):
    """Maps target ids and the memory to hidden states: embedding, N decoder layers, and a final norm if pre-norm."""

    def __init__(self, config: TransformerConfig, embedding: Embedding) -> None:
        super().__init__()
        self.embedding = embedding
        self.score_bias = build_score_bias(config.position, config.n_heads)
        self.layers = build_layers(DecoderLayer, config, config.n_decoder_layers)
        self.norm = final_norm(config.block, config.d_model, causal=True)

    def keys_values(self, memory: Hidden) -> list[KeysValues]:
        """Projects the memory for the cross-attention of every layer."""
        return [cast(DecoderLayer, layer).cross_attn.keys_values(memory) for layer in self.layers]

    def forward(
        self,
        ids: Ids,
        cross: list[KeysValues],
        *,
        memory_mask: MemoryMask | None,
        real: Real = None,
        cache: KVCache | None = None,
    ) -> Hidden:
        """Returns the hidden states of ``ids``, which continue the pieces in ``cache``."""
        start = 0 if cache is None else cache.length
        if cache is not None:
            cache.reserve(ids.shape[1])
        mask: AttendMask | None = None if real is None else causal_padding_mask(real)
        if self.score_bias is not None:
            mask = with_bias(mask, self.score_bias(ids.shape[1], start + ids.shape[1]))
        x = self.embedding(ids, positions=None if real is None else positions_of(real), start=start)
        for index, layer in enumerate(self.layers):
            layer_cache = None if cache is None else cache.layers[index]
            x = layer(x, cross[index], memory_mask=memory_mask, mask=mask, real=real, cache=layer_cache)
        if cache is not None:
            cache.advance(ids.shape[1])
        return self.norm(x, real)


class Transformer(nn.Module):
    """Maps source and target ids to logits of the next target piece.

    Args:
        config: sizes and parts.
        src_vocab_size: pieces of the source vocabulary.
        vocab_size: pieces of the target vocabulary.
        pad_id: the id of padding in both.
    """

    def __init__(self, config: TransformerConfig, *, src_vocab_size: int, vocab_size: int, pad_id: int = 0) -> None:
        super().__init__()
        if config.tie == "all" and src_vocab_size != vocab_size:
            raise ValueError(
                f"model.tie = 'all': needs one joint vocabulary, not {src_vocab_size} and {vocab_size} pieces"
            )
        self.config, self.pad_id, self.vocab_size = config, pad_id, vocab_size
        source = _embedding(config, src_vocab_size, pad_id)
        target = source if config.tie == "all" else _embedding(config, vocab_size, pad_id)
        self.encoder = Encoder(config, source)
        self.decoder = Decoder(config, target)
        self.lm_head = nn.Linear(config.d_model, vocab_size, bias=config.block.bias == "all")
        if config.tie != "none":
            self.lm_head.weight = target.tokens.weight
        initialize(self)

    @property
    def cacheable(self) -> bool:
        """Whether decoding may use a K-V cache: it may if no decoder norm depends on other positions."""
        return all(norm.position_wise for norm in norms_of(self.decoder))

    @property
    def needs_tgt_mask(self) -> bool:
        """Whether right padding of the target must be said: some norm has statistics over positions."""
        return any(norm.needs_mask for norm in norms_of(self.decoder))

    def hidden(
        self, src_ids: SrcIds, tgt_ids: TgtIds, *, src_mask: SrcMask = None, tgt_mask: TgtMask = None
    ) -> Float[Tensor, "batch tgt_seq d_model"]:
        """Returns the states that ``lm_head`` turns into logits; arguments as in ``forward``."""
        memory = self.encoder(src_ids, src_mask)
        memory_mask = None if src_mask is None else padding_mask(src_mask)
        return self.decoder(tgt_ids, self.decoder.keys_values(memory), memory_mask=memory_mask, real=tgt_mask)

    def forward(
        self, src_ids: SrcIds, tgt_ids: TgtIds, *, src_mask: SrcMask = None, tgt_mask: TgtMask = None
    ) -> Float[Tensor, "batch tgt_seq vocab"]:
        """Returns logits [batch, tgt_seq, vocab_size]; position t predicts the piece after ``tgt_ids[:, t]``.

        Args:
            src_ids: [batch, src_seq].
            tgt_ids: [batch, tgt_seq], beginning with bos.
            src_mask: [batch, src_seq], False at padding, on either side; None: no padding.
            tgt_mask: [batch, tgt_seq], the same for the target. It may be None despite padding on the right, which no
                real piece sees, unless ``needs_tgt_mask``.
        """
        logits: Tensor = self.lm_head(self.hidden(src_ids, tgt_ids, src_mask=src_mask, tgt_mask=tgt_mask))
        return logits


def _embedding(config: TransformerConfig, vocab_size: int, pad_id: int) -> Embedding:
    dropout = config.dropout if config.embed_dropout is None else config.embed_dropout
    return Embedding(
        vocab_size,
        config.d_model,
        pad_id=pad_id,
        max_seq_len=config.max_seq_len,
        position=config.position,
        dropout=dropout,
    )
