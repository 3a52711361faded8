"""CTranslate2's folder of a Transformer, GPT or BERT, written without its package.

What CTranslate2 cannot compute is refused by the key of our config, so that no file means something else there than
here. Every configuration that is written was compared with CTranslate2 4.8 (``tests/unit/export``).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from clearhead.errors import ModelError
from clearhead.export.ctranslate2_file import DECODER, ENCODER, TRANSFORMER, Quantization, Variables, model_bin
from clearhead.export.runtime import Exportable
from clearhead.interop.qk_norm import stretched_linear
from clearhead.interop.spelling import Rules, demand, flattened
from clearhead.models.bert import Bert, BertClassifier, BertConfig, BertPretraining, Pooler
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.nn.attention import Attention, CrossAttention
from clearhead.nn.embedding import Embedding, SegmentedEmbedding
from clearhead.nn.layer import Layer
from clearhead.nn.mlp import GatedMLP
from clearhead.nn.norm import NoNorm
from clearhead.nn.position import LearnedPosition, SinusoidalPosition
from clearhead.text.special import ABSENT, SpecialIds

Files = dict[str, bytes]

# by their numbers in CTranslate2's enum of activations
_NUMBERS = {"relu": 0, "gelu_tanh": 1, "silu": 2, "gelu": 3, "tanh": 5, "sigmoid": 6}
_GATES = {"glu": "sigmoid", "reglu": "relu", "geglu": "gelu", "swiglu": "silu"}
_TANH = 5
_EVERY: Rules = {
    "block.norm": ("layer", "rms"),
    "block.activation": (*_NUMBERS, *_GATES),
    "block.residual": (True,),
    "block.mlp": (True,),
}
_PLACES = ("sinusoidal", "learned", "rotary", "none")
Config = TransformerConfig | GPTConfig | BertConfig
# cross-attention there never normalizes queries and keys; encoders there know no ALiBi
_RULES: dict[type, Rules] = {
    TransformerConfig: {**_EVERY, "block.attention": ("scaled_dot_product",), "position": _PLACES},
    GPTConfig: {
        **_EVERY,
        "rotary_scaling": (None,),
        "block.attention": ("scaled_dot_product", "qk_norm"),
        "position": (*_PLACES, "alibi"),
    },
    BertConfig: {**_EVERY, "block.attention": ("scaled_dot_product", "qk_norm"), "position": _PLACES},
}


def ctranslate2_files(
    model: Exportable, pieces: Mapping[str, Sequence[str]], *, ids: SpecialIds, quantize: Quantization
) -> Files:
    """Returns the files that CTranslate2 reads, by name: ``model.bin``, ``config.json`` and the vocabularies.

    Args:
        model: in evaluation mode. Of a BERT with heads the encoder and the pooler are written: there are no heads.
        pieces: the vocabularies in order of id: ``source`` and ``target`` of a translator, ``""`` of other models.
        ids: the special pieces of the target; one that is absent has the name of the end mark.
        quantize: how the weights are stored.

    Raises:
        ModelError: CTranslate2 cannot compute this model; the message names the key.
    """
    encoder = model.bert if isinstance(model, BertPretraining | BertClassifier) else model
    check_ctranslate2(encoder.config)
    epsilon = encoder.config.block.norm_eps
    written = pieces["" if "" in pieces else "target"]
    names = {role: written[index if index != ABSENT else ids.eos] for role, index in vars(ids).items()}
    marks = {f"{role}_token": names[role] for role in ("unk", "bos", "eos")} | {"layer_norm_epsilon": epsilon}
    match encoder:
        case Transformer():
            content = model_bin(TRANSFORMER, _translator(encoder), quantize)
            marks |= {"add_source_bos": False, "add_source_eos": True, "decoder_start_token": names["bos"]}
        case GPT():
            content = model_bin(DECODER, _language_model(encoder), quantize)
        case Bert():
            content = model_bin(ENCODER, _encoder(encoder), quantize)
    same = len({tuple(words) for words in pieces.values()}) == 1 and "" not in pieces
    vocabularies = {"shared": next(iter(pieces.values()))} if same else pieces
    files = {f"{side}_vocabulary.json".lstrip("_"): _json(list(words)) for side, words in vocabularies.items()}
    return {"model.bin": content, "config.json": _json(marks), **files}


def check_ctranslate2(config: object) -> None:
    """Raises ModelError, with the key, if CTranslate2 cannot compute what a model of ``config`` does."""
    if not isinstance(config, Config):
        raise ModelError("--to ctranslate2 takes Transformers alone")
    demand(flattened(config), _RULES[type(config)], "CTranslate2: model.")


def _translator(model: Transformer) -> Variables:
    variables = {
        **_stack("encoder", model.encoder.layers, model.encoder.norm, model.config),
        **_stack("decoder", model.decoder.layers, model.decoder.norm, model.config),
        **_decoder_settings(alibi=False),
        **_embedded("encoder", "embeddings_0", model.encoder.embedding, model.config),
        **_embedded("decoder", "embeddings", model.decoder.embedding, model.config),
        **_linear("decoder/projection", [model.lm_head]),
        **_settings("encoder", embeddings_merge=_int8(0), multi_query_attention=_int8(0)),
        **_settings("encoder", scale_embeddings=_int8(1)),
        **_settings("decoder", scale_embeddings=_int8(1)),
    }
    return variables


def _language_model(model: GPT) -> Variables:
    return {
        **_stack("decoder", model.layers, model.norm, model.config),
        **_decoder_settings(alibi=model.config.position == "alibi"),
        **_embedded("decoder", "embeddings", model.embedding, model.config),
        **_linear("decoder/projection", [model.lm_head]),
        **_settings("decoder", scale_embeddings=_int8(0)),
    }


def _encoder(model: Bert) -> Variables:
    variables = {
        **_stack("encoder", model.layers, model.norm, model.config),
        **_embedded("encoder", "embeddings_0", model.embedding, model.config),
        "encoder/embeddings_1/weight": model.embedding.segments.weight,
        **_norm("encoder/layernorm_embedding", [model.embedding.norm]),
        **_settings("encoder", embeddings_merge=_int8(1), multi_query_attention=_int8(0), scale_embeddings=_int8(0)),
    }
    if isinstance(model.pooler, Pooler):
        variables |= _linear("pooler_dense", [model.pooler.proj]) | {"pooler_activation": _int8(_TANH)}
    return variables


def _stack(scope: str, layers: Iterable[nn.Module], norm: nn.Module, config: Any) -> Variables:
    """The arrays of a stack of layers, and what is the same in each of them."""
    block, variables = config.block, Variables()
    gate = _GATES.get(block.activation, block.activation)
    variables |= _settings(
        scope,
        num_heads=torch.tensor(config.n_heads, dtype=torch.int16),
        pre_norm=_int8(block.norm_position == "pre"),
        activation=_int8(_NUMBERS[gate]),
    )
    if block.norm_position == "pre":
        variables |= _norm(f"{scope}/layer_norm", [norm])
    for number, layer in enumerate(layers):
        assert isinstance(layer, Layer)
        own = f"{scope}/layer_{number}"
        variables |= _attention(f"{own}/self_attention", layer.attn, config)
        variables |= _norm(f"{own}/self_attention/layer_norm", [layer.attn_norm, layer.attn_post_norm])
        if layer.crossed:
            variables |= _attention(f"{own}/attention", layer.cross_attn, config)
            variables |= _norm(f"{own}/attention/layer_norm", [layer.cross_attn_norm, layer.cross_attn_post_norm])
        assert layer.mlp is not None, "refused before"
        variables |= _linear(f"{own}/ffn/linear_1", [layer.mlp.down_proj])
        if isinstance(layer.mlp, GatedMLP):
            variables |= _linear(f"{own}/ffn/linear_0", [layer.mlp.gate_proj])
            variables |= _linear(f"{own}/ffn/linear_0_noact", [layer.mlp.up_proj])
        else:
            variables |= _linear(f"{own}/ffn/linear_0", [layer.mlp.up_proj])
        variables |= _norm(f"{own}/ffn/layer_norm", [layer.mlp_norm, layer.mlp_post_norm])
    return variables


def _attention(scope: str, attention: Attention, config: Any) -> Variables:
    crossed = isinstance(attention, CrossAttention)
    joint = [attention.q_proj, attention.k_proj, attention.v_proj]
    if attention.qk_norm:
        joint[:2] = [stretched_linear(layer, config.block.norm_eps) for layer in joint[:2]]
    products = [joint[:1], joint[1:], [attention.o_proj]] if crossed else [joint, [attention.o_proj]]
    variables = Variables()
    for number, layers in enumerate(products):
        variables |= _linear(f"{scope}/linear_{number}", layers)
    if attention.n_kv_heads != attention.n_heads:
        variables |= _settings(scope, num_heads_kv=torch.tensor(attention.n_kv_heads, dtype=torch.int32))
    if attention.rotary is not None:
        variables |= _settings(
            scope,
            rotary_dim=torch.tensor(0, dtype=torch.int32),  # all features
            rotary_interleave=_int8(0),
            rotary_base=torch.tensor(getattr(config, "rotary_theta", 10000.0), dtype=torch.float32),
        )
    if attention.qk_norm:
        gain = torch.ones(attention.head_dim)
        variables |= {f"{scope}/{name}_norm/gamma": gain for name in "qk"}
    return variables


def _embedded(scope: str, name: str, embedding: Embedding | SegmentedEmbedding, config: Any) -> Variables:
    """The table of pieces and that of positions, which is zero for a model without: with no table they compute one."""
    variables = {f"{scope}/{name}/weight": embedding.tokens.weight}
    match embedding.position:
        case LearnedPosition() as place:
            table: Tensor = place.weight
        case SinusoidalPosition() as place:
            table = place.table
        case None if config.position == "none":
            table = torch.zeros(config.max_seq_len, config.d_model)
        case None:
            return variables
    return {**variables, f"{scope}/position_encodings/encodings": table}


def _decoder_settings(*, alibi: bool) -> Variables:
    return _settings(
        "decoder",
        alignment_layer=torch.tensor(-1, dtype=torch.int16),
        alignment_heads=torch.tensor(1, dtype=torch.int16),
        alibi=_int8(alibi),
        alibi_use_positive_positions=_int8(0),
        scale_alibi=_int8(0),
        start_from_zero_embedding=_int8(0),
    )


def _linear(scope: str, layers: Sequence[nn.Linear]) -> Variables:
    """The rows of all layers, one below the other."""
    weights: list[Tensor] = [layer.weight for layer in layers]
    variables = {f"{scope}/weight": weights[0] if len(weights) == 1 else torch.cat(weights)}
    biases: list[Tensor] = [layer.bias for layer in layers if layer.bias is not None]
    return {**variables, f"{scope}/bias": torch.cat(biases)} if biases else variables


def _norm(scope: str, modules: Sequence[nn.Module]) -> Variables:
    """The gain and the bias of the one of ``modules`` that is a norm."""
    (norm,) = (module for module in modules if not isinstance(module, NoNorm))
    gain, bias = norm.weight, norm.bias
    assert isinstance(gain, Tensor)
    return {f"{scope}/gamma": gain, **({f"{scope}/beta": bias} if isinstance(bias, Tensor) else {})}


def _settings(scope: str, **values: Tensor) -> Variables:
    return {f"{scope}/{name}": value for name, value in values.items()}


def _int8(value: int | bool) -> Tensor:
    return torch.tensor(int(value), dtype=torch.int8)


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
