"""Whole models as ONNX graphs, with the inputs and outputs that Optimum and transformers.js look for by name.

A decoder takes the keys and values that it gave before as inputs, and gives them back longer: callers loop. In a
translator's decoder the projections of the memory stand in a branch: the first step computes them, later ones pass on
what they are given. All else is one body for any number of past and new pieces.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from onnx import ModelProto
from torch import nn

from clearhead.export.onnx.graph import BOOL, FLOAT, INT64, Graph
from clearhead.export.onnx.layers import (
    KeysValues,
    Mask,
    Rotation,
    activation,
    attended,
    cross_queries,
    crossed,
    embedded,
    feed_forward,
    linear,
    norm,
    padding,
    projected,
    residual,
    rotation,
    span,
    with_bias,
)
from clearhead.export.runtime import Exportable
from clearhead.models.bert import Bert, BertClassifier, BertPretraining, MlmHead, Pooler, mean_of
from clearhead.models.gpt import GPT
from clearhead.models.ngram_logits import FACTOR, MODULUS, OF_SEGMENT, NgramLogits
from clearhead.models.transformer import Decoder, Transformer
from clearhead.nn.layer import DecoderLayer, Layer

BATCH = "batch_size"  # transformers.js makes an empty cache by this name of its first axis
Build = Callable[[Graph], None]


@dataclass(frozen=True)
class Unit:
    """The scale in which a model for numbers is trained."""

    mean: float = 0.0
    deviation: float = 1.0


def graphs_of(model: Exportable, unit: Unit) -> Mapping[str, Build]:
    """Returns what writes the graphs of a model, by the name of the file that Optimum and transformers.js look for."""
    match model:
        case Transformer():
            return {
                "encoder_model": lambda graph: _encoder(graph, model),
                "decoder_model_merged": lambda graph: _decoder(graph, model),
            }
        case GPT():
            return {"model": lambda graph: _language_model(graph, model)}
        case Bert() | BertPretraining() | BertClassifier():
            return {"model": lambda graph: _bert(graph, model, unit)}


def build(model: nn.Module, write: Build, opset: int, *, shared: bool = True) -> ModelProto:
    """Returns a model of one graph; see ``Graph`` for ``shared``."""
    graph = Graph(opset, model, shared=shared)
    write(graph)
    return graph.model("clearhead")


def _encoder(graph: Graph, model: Transformer) -> None:
    axes = (BATCH, "encoder_sequence_length")
    ids, given = (graph.input(name, INT64, axes) for name in ("input_ids", "attention_mask"))
    encoder = model.encoder
    x = embedded(graph, encoder.embedding, ids, _counted(graph, given))
    states = _encoded(graph, encoder.layers, encoder.norm, encoder.score_bias, x, given)
    graph.output(states, "last_hidden_state", FLOAT, (*axes, model.config.d_model))


def _decoder(graph: Graph, model: Transformer) -> None:
    config, decoder, layers = model.config, model.decoder, _layers(model.decoder.layers)
    memory_mask = graph.input("encoder_attention_mask", INT64, (BATCH, "encoder_sequence_length"))
    ids = graph.input("input_ids", INT64, (BATCH, "decoder_sequence_length"))
    graph.input("encoder_hidden_states", FLOAT, (BATCH, "encoder_sequence_length", config.d_model))
    heads = (config.n_heads, config.d_model // config.n_heads)
    past = [
        _past(graph, f"past_key_values.{number}.{side}", f"past_{side}_sequence_length", heads)
        for number in range(len(layers))
        for side in ("decoder", "encoder")
    ]
    own_past, cross_past = past[::2], past[1::2]
    graph.input("use_cache_branch", BOOL, (1,))
    before, new = graph.size(own_past[0][0], 2), graph.size(ids, 1)
    end = graph.op("Add", before, new)
    queries, keys = span(graph, before, end), span(graph, graph.whole(0), end)
    mask = with_bias(graph, Mask(_in_order(graph, queries, keys)), decoder.score_bias, queries, keys)
    memory = padding(graph, memory_mask, new)
    cross = _cross_projections(graph, decoder, cross_past)
    turn, real = rotation(graph, decoder.layers, queries, rows=False), graph.number(1.0)
    x = embedded(graph, decoder.embedding, ids, queries)
    for number, layer in enumerate(layers):
        x, present = _attending(graph, layer, x, (mask, turn, real), own_past[number], every_head=True)
        _present(graph, f"present.{number}.decoder", present, "total_decoder_sequence_length", heads)
        _present(graph, f"present.{number}.encoder", cross[number], "encoder_sequence_length", heads)
        branch = cross_queries(graph, layer.cross_attn, norm(graph, layer.cross_attn_norm, x, real))
        names = _names(f"present.{number}.encoder")
        branch = attended(graph, layer.cross_attn, branch, names, memory)
        x = norm(graph, layer.cross_attn_post_norm, residual(graph, layer.cross_attn_residual, x, branch), real)
        x = feed_forward(graph, layer, x, real)
    logits = linear(graph, norm(graph, decoder.norm, x, real), model.lm_head)
    _first_output(graph, logits, "logits", (BATCH, "decoder_sequence_length", model.vocab_size))


def _language_model(graph: Graph, model: GPT) -> None:
    config, layers = model.config, _layers(model.layers)
    ids = graph.input("input_ids", INT64, (BATCH, "sequence_length"))
    given = graph.input("attention_mask", INT64, (BATCH, "total_sequence_length"))
    positions = graph.input("position_ids", INT64, (BATCH, "sequence_length"))
    heads = (config.n_kv_heads or config.n_heads, config.d_model // config.n_heads)
    past = [_past(graph, f"past_key_values.{number}", "past_sequence_length", heads) for number in range(len(layers))]
    before, new = graph.size(past[0][0], 2), graph.size(ids, 1)
    end = graph.op("Add", before, new)
    queries, keys = span(graph, before, end), span(graph, graph.whole(0), end)
    seen = graph.op("And", _in_order(graph, queries, keys), padding(graph, given, new).value)
    itself = graph.op("Equal", *_rows_and_columns(graph, queries, keys))  # so that padding sees a key too
    mask = with_bias(graph, Mask(graph.op("Or", seen, itself)), model.score_bias, queries, keys)
    turn, real = rotation(graph, model.layers, positions, rows=True), graph.number(1.0)
    x = embedded(graph, model.embedding, ids, positions)
    for number, layer in enumerate(layers):
        x, present = _attending(graph, layer, x, (mask, turn, real), past[number], every_head=False)
        _present(graph, f"present.{number}", present, "total_sequence_length", heads)
        x = feed_forward(graph, layer, x, real)
    logits = linear(graph, norm(graph, model.norm, x, real), model.lm_head)
    _first_output(graph, logits, "logits", (BATCH, "sequence_length", model.vocab_size))


def _bert(graph: Graph, model: Bert | BertPretraining | BertClassifier, unit: Unit) -> None:
    bert = model if isinstance(model, Bert) else model.bert
    axes = (BATCH, "sequence_length")
    names = ("input_ids", "attention_mask", "token_type_ids")
    ids, given, segments = (graph.input(name, INT64, axes) for name in names)
    x = embedded(graph, bert.embedding, ids, _counted(graph, given))
    x = graph.op("Add", x, graph.op("Gather", graph.weight(bert.embedding.segments.weight), segments))
    x = norm(graph, bert.embedding.norm, x, _real(graph, given))
    states = _encoded(graph, bert.layers, bert.norm, bert.score_bias, x, given)
    match model:
        case BertPretraining():
            logits = _mlm_logits(graph, model.mlm_head, states)
            graph.output(logits, "logits", FLOAT, (*axes, model.vocab_size))
        case BertClassifier():
            pooled = _pooled(graph, bert.pooler, states, given)
            logits = linear(graph, pooled, model.head.out_proj)
            if model.ngrams is not None:
                both = graph.op("Add", logits, _of_ngrams(graph, model.ngrams, ids, given, segments))
                logits = graph.op("Mul", both, graph.number(0.5))
            if unit != Unit():
                scaled = graph.op("Mul", logits, graph.number(unit.deviation))
                logits = graph.op("Add", scaled, graph.number(unit.mean))
            graph.output(logits, "logits", FLOAT, (*(axes if model.kind == "token" else (BATCH,)), model.n_labels))
            return
    graph.output(states, "last_hidden_state", FLOAT, (*axes, model.config.d_model))


def _encoded(graph: Graph, layers: nn.ModuleList, last: nn.Module, bias: nn.Module | None, x: str, given: str) -> str:
    """Adds a stack of encoder layers and the norm after it; ``given`` is the attention mask."""
    length, real = graph.size(given, 1), _real(graph, given)
    places = span(graph, graph.whole(0), length)
    mask = with_bias(graph, padding(graph, given, length), bias, places, places)
    turn = rotation(graph, layers, places, rows=False)
    for layer in _layers(layers):
        x, _ = _attending(graph, layer, x, (mask, turn, real), None, every_head=False)
        x = feed_forward(graph, layer, x, real)
    return norm(graph, last, x, real)


def _attending(
    graph: Graph,
    layer: Layer,
    x: str,
    seen: tuple[Mask, Rotation | None, str],
    past: KeysValues | None,
    *,
    every_head: bool,
) -> tuple[str, KeysValues]:
    """Adds a layer's self-attention sublayer; returns its states, and all keys and values.

    Args:
        graph: where it is added.
        layer: the layer.
        x: [batch, seq, d_model].
        seen: what may be attended to, the rotation, and 1.0 at what is no padding.
        past: keys and values of earlier pieces.
        every_head: see ``projected``.
    """
    mask, turn, real = seen
    h = norm(graph, layer.attn_norm, x, real)
    q, new = projected(graph, layer.attn, h, turn, every_head=every_head)
    if past is not None:
        new = cast(KeysValues, tuple(graph.op("Concat", *pair, axis=2) for pair in zip(past, new, strict=True)))
    branch = attended(graph, layer.attn, q, new, mask, every_head=every_head)
    return norm(graph, layer.attn_post_norm, residual(graph, layer.attn_residual, x, branch), real), new


def _cross_projections(graph: Graph, decoder: Decoder, past: list[KeysValues]) -> list[KeysValues]:
    """Adds the branch: with a cache the keys and values of the memory are those given, else projections of it."""
    given, fresh, layers = graph.inner(), graph.inner(), _layers(decoder.layers)
    for number, (layer, pair) in enumerate(zip(layers, past, strict=True)):
        made = crossed(fresh, layer.cross_attn, "encoder_hidden_states")
        for own, old, kind in zip(made, pair, ("key", "value"), strict=True):
            given.output(given.op("Identity", old), f"given.{number}.{kind}", FLOAT, None)
            fresh.output(own, f"fresh.{number}.{kind}", FLOAT, None)
    values = graph.ops(
        "If",
        "use_cache_branch",
        outputs=2 * len(layers),
        then_branch=given.proto("given"),
        else_branch=fresh.proto("fresh"),
    )
    return list(zip(values[::2], values[1::2], strict=True))


def _mlm_logits(graph: Graph, head: MlmHead, states: str) -> str:
    features = activation(graph, head.activation, linear(graph, states, head.proj))
    return linear(graph, norm(graph, head.norm, features, graph.number(1.0)), head.out_proj)


def _pooled(graph: Graph, pooler: nn.Module, states: str, given: str) -> str:
    """Adds what a classifier's output layer reads: one state a row, or every state."""
    if not isinstance(pooler, Pooler):
        return states
    if pooler.pool is mean_of:
        real = _real(graph, given)
        total = graph.op("ReduceSum", graph.op("Mul", states, real), graph.ints(1), keepdims=0)
        chosen = graph.op("Div", total, graph.op("ReduceSum", real, graph.ints(1), keepdims=0))
    else:
        first = graph.op("ArgMax", given, axis=1, keepdims=1)
        chosen = graph.op("GatherND", states, first, batch_dims=1)
    return graph.op("Tanh", linear(graph, chosen, pooler.proj))


def _of_ngrams(graph: Graph, part: NgramLogits, ids: str, given: str, segments: str) -> str:
    """Adds what runs of pieces say of the labels; see ``NgramLogits.forward``."""

    def cut(value: str, start: int, end: int) -> str:
        return graph.op("Slice", value, graph.ints(start), graph.ints(end), graph.ints(1))

    key, real, all_of_it = graph.op("Mul", segments, graph.whole(OF_SEGMENT)), graph.op("Cast", given, to=BOOL), 2**62
    begun, found, whole = real, [], []
    for more in range(part.longest):
        if more:
            key = cut(key, 0, -1)
            begun = graph.op("And", cut(begun, 0, -1), cut(real, more, all_of_it))
        key = graph.op("Add", graph.op("Mul", key, graph.whole(FACTOR)), cut(ids, more, all_of_it))
        key = graph.op("Mod", graph.op("Add", key, graph.whole(1)), graph.whole(MODULUS))
        found.append(graph.op("Mod", key, graph.whole(part.rows)))
        whole.append(begun)
    says = graph.op("Gather", graph.weight(part.table.weight), graph.op("Concat", *found, axis=1))
    counted = graph.op("Cast", graph.op("Concat", *whole, axis=1), to=FLOAT)
    number = graph.op("Max", graph.op("ReduceSum", counted, graph.ints(1)), graph.number(1.0))
    weights = graph.op("Div", counted, graph.op("Sqrt", number))
    weighted = graph.op("Mul", says, graph.op("Unsqueeze", weights, graph.ints(2)))
    return graph.op("ReduceSum", weighted, graph.ints(1), keepdims=0)


def _layers(layers: nn.ModuleList) -> list[DecoderLayer]:
    """The layers, which have a cross-attention in a decoder alone."""
    return cast(list[DecoderLayer], list(layers))


def _past(graph: Graph, stem: str, length: str, heads: tuple[int, int]) -> KeysValues:
    key, value = (graph.input(name, FLOAT, (BATCH, heads[0], length, heads[1])) for name in _names(stem))
    return key, value


def _present(graph: Graph, stem: str, pair: KeysValues, length: str, heads: tuple[int, int]) -> None:
    for value, name in zip(pair, _names(stem), strict=True):
        graph.output(value, name, FLOAT, (BATCH, heads[0], length, heads[1]))


def _names(stem: str) -> KeysValues:
    return f"{stem}.key", f"{stem}.value"


def _first_output(graph: Graph, value: str, name: str, axes: tuple[str | int, ...]) -> None:
    graph.output(value, name, FLOAT, axes)
    graph.outputs.insert(0, graph.outputs.pop())


def _counted(graph: Graph, given: str) -> str:
    """Numbers the real pieces of each row from 0."""
    counted = graph.op("CumSum", given, graph.whole(1))
    return graph.op("Max", graph.op("Sub", counted, graph.whole(1)), graph.whole(0))


def _real(graph: Graph, given: str) -> str:
    return graph.op("Unsqueeze", graph.op("Cast", given, to=FLOAT), graph.ints(-1))


def _rows_and_columns(graph: Graph, queries: str, keys: str) -> tuple[str, str]:
    return graph.op("Unsqueeze", queries, graph.ints(1)), graph.op("Unsqueeze", keys, graph.ints(0))


def _in_order(graph: Graph, queries: str, keys: str) -> str:
    """Lets each query attend to itself and what comes before it: [queries, keys]."""
    return graph.op("GreaterOrEqual", *_rows_and_columns(graph, queries, keys))
