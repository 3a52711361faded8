"""The decoder-only Transformer: GPT-2 (Radford et al. 2019) and, by its config's words, the shape of Llama."""

from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge, Gt
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clearhead.models.checks import check_sizes
from clearhead.nn.cache import KVCache
from clearhead.nn.embedding import Embedding
from clearhead.nn.init import initialize_normal
from clearhead.nn.layer import BlockConfig, CausalLayer, Rate, final_norm
from clearhead.nn.mask import AttendMask, causal_padding_mask, document_mask, padding_mask, positions_of, with_bias
from clearhead.nn.position import Alibi, PositionName, Rotary

Size = Annotated[int, Ge(1)]
Ids = Int[Tensor, "batch seq"]
Hidden = Float[Tensor, "batch seq d_model"]
Keys = Bool[Tensor, "batch keys"] | None
OfEach = Int[Tensor, "batch seq"] | None


def gpt_block() -> BlockConfig:
    """What GPT-2's layers are made of."""
    return BlockConfig(activation="gelu_tanh")


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and parts of a decoder-only model."""

    d_model: Size = 384
    """Features of a hidden state."""
    d_ff: Size = 1536
    """Features inside the feed-forward network."""
    n_heads: Size = 6
    """Attention heads."""
    n_kv_heads: Size | None = None
    """Heads of keys and values: unset is n_heads (multi-head), fewer is grouped-query, 1 is multi-query."""
    n_layers: Size = 6
    """Layers."""
    max_seq_len: Size = 256
    """The context: most pieces that a prediction can look back on."""
    dropout: Rate = 0.1
    """Dropout on the residual branches."""
    embed_dropout: Rate | None = None
    """Dropout on the embeddings; unset is ``dropout``."""
    position: PositionName = "learned"
    """Positions: learned, sinusoidal, rotary, alibi or none."""
    rotary_theta: Annotated[float, Gt(0.0)] = 10000.0
    """Base of the rotary rates."""
    tie: bool = True
    """Whether the output layer shares the table of embeddings."""
    block: BlockConfig = field(default_factory=gpt_block)
    """What the layers are made of."""

    def __post_init__(self) -> None:
        check_sizes(self)
        if self.block.norm == "instance":
            raise ValueError(
                "model.block.norm = 'instance': looks at other positions, so a GPT could not use its cache"
            )


class GPT(nn.Module):
    """Ids in, logits of the next piece out.

    Args:
        config: sizes and parts.
        vocab_size: pieces of the vocabulary.
        pad_id: the id of padding, whose embedding is zero; None has none.
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
        self.alibi = Alibi(config.n_heads) if config.position == "alibi" else None
        self.layers = _layers(config)
        self.norm = final_norm(config.block, config.d_model, causal=True)
        self.lm_head = nn.Linear(config.d_model, vocab_size, bias=config.block.bias == "all")
        if config.tie:
            self.lm_head.weight = self.embedding.tokens.weight
        initialize_normal(self, n_layers=config.n_layers)

    @property
    def needs_mask(self) -> bool:
        """Whether padding on the right must be said in training: some norm has statistics over positions."""
        return self.config.block.norm == "batch"

    def hidden(
        self,
        ids: Ids,
        *,
        mask: Keys = None,
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
        mask: Keys = None,
        positions: OfEach = None,
        documents: OfEach = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "batch seq vocab"]:
        """Returns logits [batch, seq, vocab_size]; position t predicts the piece after ``ids[:, t]``.

        Args:
            ids: [batch, seq].
            mask: [batch, keys], True at real pieces, for what the cache holds and ``ids``. None: all are. Padding on
                the right may be left unsaid, since nothing before it sees it, unless ``needs_mask``; with a cache
                padding is on the left.
            positions: [batch, seq], all below ``max_seq_len``; None counts real pieces.
            documents: [batch, seq], numbers; a piece sees only its own document. None: it sees all before it.
            cache: keys and values of earlier pieces; the new ones are appended.

        Raises:
            ValueError: a row has more pieces than ``max_seq_len``, or there are documents and a cache.
        """
        states = self.hidden(ids, mask=mask, positions=positions, documents=documents, cache=cache)
        logits: Tensor = self.lm_head(states)
        return logits

    def check_length(self, mask: Keys) -> None:
        """Raises ValueError where a row of ``mask`` has more real pieces than ``max_seq_len``."""
        most = self.config.max_seq_len
        if mask is not None and mask.shape[1] > most and (longest := int(mask.sum(1).max())) > most:
            raise ValueError(f"a sequence of {longest} pieces: must be at most max_seq_len = {most}")

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

    def _mask(self, mask: Keys, documents: OfEach, start: int, seq: int) -> AttendMask | None:
        """What restricts attention besides the causal order."""
        may_attend: AttendMask | None = None
        if mask is not None:  # a single new piece is real; of several, padding may attend to itself alone
            may_attend = padding_mask(mask) if seq == 1 else causal_padding_mask(mask)[:, :, -seq:]
        if documents is not None:
            own = document_mask(documents)
            may_attend = own if may_attend is None else may_attend & own
        if self.alibi is not None:
            may_attend = with_bias(may_attend, self.alibi(seq, start + seq))
        return may_attend


def _layers(config: GPTConfig) -> nn.ModuleList:
    rotary = None
    if config.position == "rotary":
        rotary = Rotary(config.d_model // config.n_heads, config.max_seq_len, theta=config.rotary_theta)
    return nn.ModuleList(
        CausalLayer(
            config.d_model,
            n_heads=config.n_heads,
            d_ff=config.d_ff,
            n_kv_heads=config.n_kv_heads,
            dropout=config.dropout,
            drop_path=config.block.stochastic_depth * (index + 1) / config.n_layers,
            block=config.block,
            rotary=rotary,
        )
        for index in range(config.n_layers)
    )
