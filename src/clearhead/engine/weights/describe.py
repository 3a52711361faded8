"""From our models to the parts that the native engine is told: which of them it covers, and their weights as arrays."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from clearhead.engine.library import Activation, NormKind
from clearhead.engine.weights.image import LayerParts, LinearPart, ModelParts, NormPart, group
from clearhead.engine.weights.packing import Floats
from clearhead.models.bert import Bert, BertClassifier, BertPretraining, LabelHead, MlmHead, NoPooler, Pooler
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Decoder, Encoder, Transformer
from clearhead.nn.activation import GeluTanh
from clearhead.nn.attention import Attention, CrossAttention, ScaledDotProduct, SelfAttention
from clearhead.nn.dropout import Dropout
from clearhead.nn.embedding import Embedding, SegmentedEmbedding
from clearhead.nn.layer import CausalLayer, DecoderLayer, EncoderLayer
from clearhead.nn.layer import Layer as TorchLayer
from clearhead.nn.mlp import MLP, GatedMLP
from clearhead.nn.norm import LayerNorm, NoNorm, RMSNorm
from clearhead.nn.position import Alibi, LearnedPosition, Rotary, SinusoidalPosition
from clearhead.nn.residual import Residual

ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation.RELU,
    nn.GELU: Activation.GELU,
    GeluTanh: Activation.GELU_TANH,
    nn.SiLU: Activation.SILU,
    nn.Sigmoid: Activation.SIGMOID,
    nn.Tanh: Activation.TANH,
    nn.Softmax: Activation.SOFTMAX,
}
MODULES = (
    *(Transformer, GPT, Encoder, Decoder, EncoderLayer, CausalLayer, DecoderLayer, nn.ModuleList, Embedding),
    *(nn.Embedding, SinusoidalPosition, LearnedPosition, Rotary, Alibi, SelfAttention, CrossAttention),
    *(ScaledDotProduct, nn.Identity, Dropout, Residual, MLP, GatedMLP, nn.Linear, LayerNorm, RMSNorm, NoNorm),
    *(BertPretraining, BertClassifier, Bert, SegmentedEmbedding, Pooler, NoPooler, MlmHead, LabelHead),
    *ACTIVATIONS,
)
"""What a covered model is made of; a class derived from one of them may compute something else."""


Covered = Transformer | GPT | BertPretraining | BertClassifier


def covered(model: nn.Module) -> str:
    """Says in a few words why the native engine does not compute with ``model``; nothing where it does."""
    if type(model) not in (Transformer, GPT, BertPretraining, BertClassifier):
        return f"a {type(model).__name__} computes by PyTorch"
    if model.training:
        return "a model in training mode computes by PyTorch"
    for weight in model.parameters():
        if weight.device.type != "cpu" or weight.dtype != torch.float32:
            return f"weights of {str(weight.dtype).removeprefix('torch.')} on {weight.device.type} compute by PyTorch"
    foreign = [type(module).__name__ for module in model.modules() if type(module) not in MODULES]
    return f"{foreign[0]} is computed by PyTorch" if foreign else ""


@torch.no_grad()
def described(model: Covered, done: Callable[[], object] = bool) -> ModelParts:
    """Returns the parts of a model that is ``covered``; its weights are shared, not copied, where that is possible.

    Args:
        model: the model.
        done: called before the parts of each layer are made, when those of the layer before may go.
    """
    return _encoder(model, done) if isinstance(model, BertPretraining | BertClassifier) else _writer(model, done)


def _encoder(model: BertPretraining | BertClassifier, done: Callable[[], object]) -> ModelParts:
    """An encoder without a decoder, and the head that its product asks: of masked pieces, or of labels."""
    bert, states = model.bert, group(model.config.d_model)
    layer = cast(TorchLayer, bert.layers[0])
    tables = _places("src", bert.embedding) | _distances(layer, bert.score_bias)
    norms: dict[str, nn.Module] = {"encoder_norm": bert.norm, "embedding_norm": bert.embedding.norm}
    transform, activation = None, Activation.NONE
    if isinstance(model, BertPretraining):
        head = model.mlm_head
        transform, activation = head.proj, ACTIVATIONS[type(head.activation)]
        norms["head_norm"] = head.norm
        out, outputs = head.out_proj, model.vocab_size
    else:
        out, outputs = model.head.out_proj, model.n_labels
        if isinstance(bert.pooler, Pooler):
            transform, activation = bert.pooler.proj, Activation.TANH
    if out.weight is not bert.embedding.tokens.weight:
        tables["src_table"] = _array(bert.embedding.tokens.weight)
    sizes = _sizes(model, layer) | {"vocab": outputs, "segment_count": model.config.n_segments}
    return ModelParts(
        sizes=sizes,
        activation=_activation(layer),
        embedding_scale=1.0,
        decoder=[],
        lm_head=_linear([out], outputs=(1, 1), inputs=states),
        encoder=_Layers(bert.layers, done),
        norms=_norms(norms),
        tables=tables | {"segments": _array(bert.embedding.segments.weight)},
        transform=None if transform is None else _linear([transform], outputs=states, inputs=states),
        head_activation=activation,
    )


def _writer(model: Transformer | GPT, done: Callable[[], object]) -> ModelParts:
    """A model with a decoder."""
    layer = cast(TorchLayer, _decoder(model).layers[0])
    sizes = _sizes(model, layer)
    embedding, states = _decoder(model).embedding, group(model.config.d_model)
    tables = _tables(model)
    encoder: Sequence[LayerParts] = ()
    if isinstance(model, Transformer):
        source = model.encoder.embedding
        sizes["src_vocab"] = source.tokens.num_embeddings
        tables |= _places("src", source)
        if source.tokens.weight is not model.lm_head.weight:
            tables["src_table"] = _array(source.tokens.weight)
        encoder = _Layers(model.encoder.layers, done)
    return ModelParts(
        sizes=sizes,
        activation=_activation(layer),
        embedding_scale=embedding.scale,
        decoder=_Layers(_decoder(model).layers, done),
        lm_head=_linear([model.lm_head], outputs=(1, 1), inputs=states),
        encoder=encoder,
        norms=_final_norms(model),
        tables=tables,
    )


class _Layers(Sequence[LayerParts]):
    """The parts of a stack's layers, each made when it is asked for."""

    def __init__(self, layers: nn.ModuleList, done: Callable[[], object]) -> None:
        self._layers, self._done = layers, done

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        self._done()
        with torch.no_grad():
            return _layer(cast(TorchLayer, self._layers[index]))


def _sizes(model: Covered, layer: TorchLayer) -> dict[str, int]:
    config = model.config
    return {
        "d_model": config.d_model,
        "d_ff": config.d_ff,
        "heads": config.n_heads,
        "kv_heads": config.n_kv_heads or config.n_heads,
        "vocab": model.vocab_size,
        "src_vocab": model.vocab_size,
        "max_len": config.max_seq_len,
        "gated": int(isinstance(layer.mlp, GatedMLP)),
        "residual": int(config.block.residual),
        "unit_heads": int(layer.attn.qk_norm),
    }


def _activation(layer: TorchLayer) -> Activation:
    return Activation.NONE if layer.mlp is None else ACTIVATIONS[type(layer.mlp.activation)]


def _decoder(model: Transformer | GPT) -> Decoder | GPT:
    return model.decoder if isinstance(model, Transformer) else model


def _tables(model: Transformer | GPT) -> dict[str, Floats]:
    """The target's embeddings, unless they are the output layer's, and what depends on positions."""
    stack = _decoder(model)
    tables = _places("tgt", stack.embedding)
    if stack.embedding.tokens.weight is not model.lm_head.weight:
        tables["tgt_table"] = _array(stack.embedding.tokens.weight)
    return tables | _distances(cast(TorchLayer, stack.layers[0]), stack.score_bias)


def _distances(layer: TorchLayer, score_bias: Alibi | None) -> dict[str, Floats]:
    """What attention makes of positions: rotations, or penalties of distance."""
    tables: dict[str, Floats] = {}
    rotary = layer.attn.rotary
    if rotary is not None:
        tables |= {"cos": _array(rotary.cos), "sin": _array(rotary.sin)}
    if score_bias is not None:
        slopes = score_bias.slopes
        tables |= {"left": _array(slopes), "right": _array(slopes.flip(0))}
    return tables


def _places(side: str, embedding: Embedding | SegmentedEmbedding) -> dict[str, Floats]:
    """What the embedding adds for positions."""
    match embedding.position:
        case SinusoidalPosition(table=table):
            return {f"{side}_positions": _array(table)}
        case LearnedPosition(weight=weight):
            return {f"{side}_positions": _array(weight)}
        case _:
            return {}


def _final_norms(model: Transformer | GPT) -> dict[str, NormPart]:
    norms: dict[str, nn.Module] = {"decoder_norm": _decoder(model).norm}
    if isinstance(model, Transformer):
        norms["encoder_norm"] = model.encoder.norm
    return _norms(norms)


def _norms(modules: dict[str, nn.Module]) -> dict[str, NormPart]:
    parts = {}
    for name, norm in modules.items():
        if isinstance(norm, LayerNorm | RMSNorm):
            bias = None if norm.bias is None else _array(norm.bias)
            kind = NormKind.LAYER if isinstance(norm, LayerNorm) else NormKind.RMS
            parts[name] = NormPart(kind, _array(norm.weight), bias, norm.eps)
    return parts


def _layer(layer: TorchLayer) -> LayerParts:
    attn = layer.attn
    states, heads = group(attn.q_proj.in_features), group(attn.head_dim)
    norms: dict[str, nn.Module] = {"attn": layer.attn_norm, "attn_post": layer.attn_post_norm}
    linears = {
        "qkv": _linear([attn.q_proj, attn.k_proj, attn.v_proj], outputs=heads, inputs=states),
        "attn_out": _linear([attn.o_proj], outputs=states, inputs=heads),
    }
    if isinstance(layer, DecoderLayer):
        cross: Attention = layer.cross_attn
        norms |= {"cross": layer.cross_attn_norm, "cross_post": layer.cross_attn_post_norm}
        linears |= {
            "cross_q": _linear([cross.q_proj], outputs=heads, inputs=states),
            "cross_kv": _linear([cross.k_proj, cross.v_proj], outputs=heads, inputs=states),
            "cross_out": _linear([cross.o_proj], outputs=states, inputs=heads),
        }
    if layer.mlp is not None:
        inner = group(layer.mlp.down_proj.in_features)
        ups = [layer.mlp.gate_proj, layer.mlp.up_proj] if isinstance(layer.mlp, GatedMLP) else [layer.mlp.up_proj]
        norms |= {"mlp": layer.mlp_norm, "mlp_post": layer.mlp_post_norm}
        linears |= {
            "up": _linear(ups, outputs=inner, inputs=states),
            "down": _linear([layer.mlp.down_proj], outputs=states, inputs=inner),
        }
    return LayerParts(_norms(norms), linears)


def _linear(parts: list[nn.Linear], *, outputs: tuple[int, int], inputs: tuple[int, int]) -> LinearPart:
    """Layers of one input as one, their outputs side by side."""
    weights, biases = (
        [_array(part.weight) for part in parts],
        [_array(part.bias) for part in parts if part.bias is not None],
    )
    if len(parts) == 1:
        return LinearPart(weights[0], biases[0] if biases else None, outputs, inputs)
    return LinearPart(weights, biases or None, outputs, inputs)


def _array(tensor: Tensor) -> Floats:
    return cast(Floats, tensor.detach().numpy())
