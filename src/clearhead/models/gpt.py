"""The decoder-only Transformer: GPT-2 (Radford et al. 2019) and, with another config, Llama."""

from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.models.checks import check_sizes
from clearhead.models.stack import build_layers
from clearhead.nn.cache import KVCache
from clearhead.nn.embedding import Embedding
from clearhead.nn.init import initialize_normal
from clearhead.nn.layer import BlockConfig, CausalLayer, final_norm
from clearhead.nn.mask import AttendMask, causal_padding_mask, document_mask, padding_mask, positions_of, with_bias
from clearhead.nn.norm import build_norm, norms_of
from clearhead.nn.position import PositionConfig, build_score_bias
from clearhead.ranges import Depth, Length, Rate, Size

Ids = Int[Tensor, "batch seq"]
Hidden = Float[Tensor, "batch seq d_model"]
KeyMask = Bool[Tensor, "batch keys"] | None
OfEach = Int[Tensor, "batch seq"] | None


def gpt_block() -> BlockConfig:
    """Returns the norm, activation and other parts of GPT-2's layers."""
    return BlockConfig(activation="gelu_tanh")


@dataclass(frozen=True)
class GPTConfig(PositionConfig):
    """Sizes and parts of a decoder-only model."""

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
    max_seq_len: Length = 256
    """Context length: a prediction sees at most so many pieces."""
    dropout: Rate = 0.1
    """Dropout on the residual branches."""
    embed_dropout: Rate | None = None
    """Dropout on the embeddings; unset means ``dropout``."""
    tie: bool = True
    """Whether the output layer shares the embedding table."""
    block: BlockConfig = field(default_factory=gpt_block)
    """What the layers are made of."""

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.rotary_scaling is not None and self.position != "rotary":
            raise ValueError(f"model.rotary_scaling: needs model.position = 'rotary', not {self.position!r}")
        if self.rotary_scaling is not None and self.rotary_scaling.kind == "yarn" and self.rotary_theta <= 1:
            raise ValueError(f"model.rotary_theta = {self.rotary_theta}: must be above 1 with yarn")
        if not build_norm(self.block.norm, 1, groups=1).position_wise:
            raise ValueError(
                f"model.block.norm = {self.block.norm!r}: looks at other positions, so a GPT could not use its cache"
            )

    @property
    def cache_limit(self) -> int:
        """The longest text that can go on from a cache; a longer one is computed anew, see ``DynamicRotary``."""
        scaling, limit = self.rotary_scaling, self.max_seq_len
        dynamic = scaling is not None and scaling.kind == "dynamic"
        return min(limit, scaling.original_max_seq_len or limit) if scaling and dynamic else limit


class GPT(nn.Module):
    """Maps ids to logits of the next piece.

    Args:
        config: sizes and parts.
        vocab_size: pieces of the vocabulary.
        pad_id: the id of padding, whose embedding starts at zero; None: no padding.
    """

    def __init__(self, config: GPTConfig, *, vocab_size: int, pad_id: int | None = None) -> None:
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.embedding = Embedding(
            vocab_size,
            config.d_model,
            pad_id=pad_id,
            max_seq_len=config.max_seq_len,
            position=config.position,
            dropout=config.dropout if config.embed_dropout is None else config.embed_dropout,
            scale=False,
        )
        self.score_bias = build_score_bias(config.position, config.n_heads)
        words: dict[str, Any] = {"rotary_theta": config.rotary_theta, "rotary_scaling": config.rotary_scaling}
        self.layers = build_layers(CausalLayer, config, config.n_layers, **words)
        self.norm = final_norm(config.block, config.d_model, causal=True)
        self.lm_head = nn.Linear(config.d_model, vocab_size, bias=config.block.bias == "all")
        if config.tie:
            self.lm_head.weight = self.embedding.tokens.weight
        initialize_normal(self, n_layers=config.n_layers)

    @property
    def needs_mask(self) -> bool:
        """Whether padding on the right must be said in training: other positions count, in a norm or as the length."""
        return any(norm.needs_mask for norm in norms_of(self)) or self.cache_limit < self.config.max_seq_len

    @property
    def cache_limit(self) -> int:
        """See ``GPTConfig.cache_limit``."""
        return self.config.cache_limit

    def hidden(
        self,
        ids: Ids,
        *,
        mask: KeyMask = None,
        positions: OfEach = None,
        documents: OfEach = None,
        cache: KVCache | None = None,
    ) -> Hidden:
        """Returns the states that ``lm_head`` turns into logits; arguments as in ``forward``."""
        if documents is not None and cache is not None:
            raise ValueError("documents: a cache holds no document numbers; use one of the two")
        self.check_length(mask)
        start, seq = (0 if cache is None else cache.length), ids.shape[1]
        if cache is not None:
            self._check_cache(cache, seq, mask)
            cache.reserve(seq)
        if mask is not None and positions is None:
            positions = positions_of(mask)[:, -seq:]
        x = self.embedding(ids, positions=positions, start=0 if positions is not None else start)
        may_attend, real = self._mask(mask, documents, start, seq), None if mask is None else mask[:, -seq:]
        for index, layer in enumerate(self.layers):
            own = None if cache is None else cache.layers[index]
            x = layer(x, mask=may_attend, real=real, cache=own, positions=positions)
        if cache is not None:
            cache.advance(seq)
        normed: Hidden = self.norm(x, real)
        return normed

    def forward(
        self,
        ids: Ids,
        *,
        mask: KeyMask = None,
        positions: OfEach = None,
        documents: OfEach = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        """Returns logits [batch, seq, vocab_size]; position t predicts the piece after ``ids[:, t]``.

        Args:
            ids: [batch, seq].
            mask: [batch, keys], False at padding, for the pieces in the cache followed by ``ids``. None: no padding, or
                padding on the right only, which no piece before it sees, unless ``needs_mask``; with a cache padding
                is on the left.
            positions: [batch, seq], all below ``max_seq_len``; None counts real pieces.
            documents: [batch, seq], the number of each piece's document; a piece attends only to its own document.
                None: it attends to all earlier pieces.
            cache: keys and values of earlier pieces; the new ones are appended to it.

        Raises:
            ValueError: a row has more pieces than ``max_seq_len``, or both documents and a cache are given.
        """
        states = self.hidden(ids, mask=mask, positions=positions, documents=documents, cache=cache)
        logits: Tensor = self.lm_head(states)
        return logits

    def check_length(self, mask: KeyMask) -> None:
        """Raises ValueError if a row of ``mask`` has more real pieces than ``max_seq_len``."""
        limit = self.config.max_seq_len
        if mask is not None and mask.shape[1] > limit and (longest := int(mask.sum(1).max())) > limit:
            raise ValueError(f"a sequence of {longest} pieces: must be at most max_seq_len = {limit}")

    def _check_cache(self, cache: KVCache, seq: int, mask: KeyMask) -> None:
        """Raises ValueError if the text in ``cache`` has to be computed anew to become longer."""
        end = cache.length + seq
        if cache.length and end > self.cache_limit < self.config.max_seq_len:
            longest = end if mask is None else int(mask.sum(1).max())
            if longest > self.cache_limit:
                raise ValueError(f"{longest} pieces with dynamic positions: beyond {self.cache_limit} compute all anew")

    def new_cache(self, rows: int, capacity: int = 64) -> KVCache:
        """Returns an empty cache for ``rows`` sequences."""
        config = self.config
        return KVCache(
            n_layers=config.n_layers,
            rows=rows,
            kv_heads=config.n_kv_heads or config.n_heads,
            head_dim=config.d_model // config.n_heads,
            capacity=min(capacity, config.max_seq_len),
            like=self.embedding.tokens.weight,
        )

    def _mask(self, mask: KeyMask, documents: OfEach, start: int, seq: int) -> AttendMask | None:
        """Combines padding, documents and ALiBi into one mask, which applies in addition to the causal order."""
        may_attend: AttendMask | None = None
        if mask is not None:  # a single new piece is never padding; among several, padding attends only to itself
            may_attend = padding_mask(mask) if seq == 1 else causal_padding_mask(mask)[:, :, -seq:]
        if documents is not None:
            own = document_mask(documents)
            may_attend = own if may_attend is None else may_attend & own
        if self.score_bias is not None:
            may_attend = with_bias(may_attend, self.score_bias(seq, start + seq))
        return may_attend
