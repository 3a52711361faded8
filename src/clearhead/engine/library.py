"""The native library as Python sees it: loaded by ctypes, with the structures of ``native/clearhead.h``; no torch."""

import ctypes
import functools
import os
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_uint64,
    c_void_p,
)
from enum import IntEnum
from typing import Any, Literal, get_args

import numpy as np

from clearhead.engine import build
from clearhead.errors import ModelError, UsageError

ABI = 6  # CH_ABI of native/clearhead.h
Instructions = Literal["portable", "avx2", "avx512", "neon"]
WORDS = (*get_args(Instructions), "off")
VARIABLE = "CLEARHEAD_ENGINE"
REBUILD = "`python -m clearhead.engine.build` builds it"

KINDS = {"float32": 0, "int8": 1, "bfloat16": 2, "int4": 3}


class NormKind(IntEnum):
    """``ch_norm_kind``."""

    NONE, LAYER, RMS = range(3)


class Activation(IntEnum):
    """``ch_activation``."""

    NONE, RELU, GELU, GELU_TANH, SILU, SIGMOID, TANH, SOFTMAX = range(8)


class Linear(Structure):
    """``ch_linear``."""

    _fields_ = [
        *((name, c_void_p) for name in ("weight", "bias", "scale", "sums")),
        *((name, c_int32) for name in ("inputs", "outputs", "kind", "reserved")),
    ]


class Norm(Structure):
    """``ch_norm``."""

    _fields_ = [("gain", c_void_p), ("bias", c_void_p), ("eps", c_float), ("kind", c_int32)]


class Layer(Structure):
    """``ch_layer``."""

    _fields_ = [
        *((name, Norm) for name in ("attn", "attn_post", "cross", "cross_post", "mlp", "mlp_post")),
        *((name, Linear) for name in ("qkv", "attn_out", "cross_q", "cross_kv", "cross_out", "up", "down")),
    ]


SIZES = (
    *("d_model", "width", "d_ff", "inner", "heads", "kv_heads", "head_dim", "head", "vocab", "src_vocab", "max_len"),
    *("encoder_layers", "decoder_layers", "activation", "gated", "residual", "unit_heads", "src_panels", "tgt_panels"),
)
TABLES = ("src_table", "tgt_table", "src_positions", "tgt_positions", "cos", "sin", "left", "right", "segments")


class Model(Structure):
    """``ch_model``."""

    _fields_ = [
        *((name, c_int32) for name in SIZES),
        ("embedding_scale", c_float),
        ("cache", c_int32),
        ("encoder", POINTER(Layer)),
        ("decoder", POINTER(Layer)),
        ("encoder_norm", Norm),
        ("decoder_norm", Norm),
        ("lm_head", Linear),
        *((name, c_void_p) for name in TABLES),
        ("embedding_norm", Norm),
        ("transform", Linear),
        ("head_norm", Norm),
        ("head_activation", c_int32),
        ("segment_count", c_int32),
    ]


class Drawing(Structure):
    """``ch_drawing`` of native/sample.h."""

    _fields_ = [
        *((name, c_double) for name in ("temperature", "top_p", "min_p", "typical_p")),
        *((name, c_float) for name in ("repetition", "presence", "frequency", "reserved")),
        *((name, c_int32) for name in ("top_k", "no_repeat_ngram", "eos", "at_least", "limit", "forbidden_count")),
        *(
            (name, c_int32)
            for name in ("ends_count", "never_first_count", "avoided_states", "states", "rooms", "biased_count")
        ),
        *((name, c_void_p) for name in ("forbidden", "ends", "avoided", "avoided_done")),
        *((name, c_void_p) for name in ("after", "allowed", "never_first", "biased", "bias")),
    ]


TextOf = CFUNCTYPE(c_int64, POINTER(c_int32), c_int32)
"""Gives pieces a number, equal ones where they read alike."""


class Search(Structure):
    """``ch_search``."""

    _fields_ = [
        *((name, c_int32) for name in ("beam", "n_best", "bos", "eos", "at_least")),
        *((name, c_int32) for name in ("forbidden_count", "never_first_count", "states", "rooms", "reserved")),
        *((name, c_void_p) for name in ("forbidden", "after", "allowed", "never_first")),
        ("length_penalty", c_double),
        ("text_of", TextOf),
        ("drawing", POINTER(Drawing)),
    ]


class Phrase(Structure):
    """``ch_phrase``."""

    _fields_ = [
        *((name, c_void_p) for name in ("steps", "kind", "left", "ways", "begins")),
        *((name, c_int32) for name in ("states", "kinds")),
    ]


class Found(Structure):
    """``ch_found``."""

    _fields_ = [
        ("stride", c_int32),
        ("n_best", c_int32),
        *((name, c_void_p) for name in ("ids", "log_probs", "lengths", "complete", "cut_better")),
    ]


ASKED = np.dtype(
    [
        *((name, np.uint64) for name in ("search", "ids", "prefix", "shortlist")),
        *((name, np.int32) for name in ("length", "prefix_length", "limit", "shortlist_length")),
        ("phrases", np.uint64),
        *((name, np.int32) for name in ("required", "avoided")),
    ]
)
"""``ch_asked``, with addresses."""
WRITTEN = np.dtype(
    [
        *((name, np.uint64) for name in ("drawing", "ids")),
        ("number", np.float64),
        *((name, np.int32) for name in ("length", "prompt")),
    ]
)
"""``ch_written`` of native/sample.h, with addresses."""


SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "ch_error": (c_char_p, []),
    "ch_layout": (None, [POINTER(c_int32)]),
    "ch_has": (c_int, [c_char_p]),
    "ch_rows_new": (c_void_p, [POINTER(Model), c_char_p, c_int]),
    "ch_rows_free": (None, [c_void_p]),
    "ch_rows_count": (c_int, [c_void_p]),
    "ch_rows_length": (c_int, [c_void_p, c_int]),
    "ch_join_sources": (c_int, [c_void_p, c_void_p, c_void_p, c_int, c_int]),
    "ch_join_empty": (c_int, [c_void_p, c_int]),
    "ch_extend": (c_int, [c_void_p, c_void_p, c_void_p, c_int, c_void_p]),
    "ch_back": (c_int, [c_void_p, c_void_p]),
    "ch_keep": (c_int, [c_void_p, c_void_p, c_int]),
    "ch_encode": (c_int, [c_void_p, c_void_p, c_int, c_void_p]),
    "ch_translate": (c_int, [POINTER(Model), c_char_p, c_int, c_void_p, c_int, POINTER(Found)]),
    "ch_searches_new": (c_void_p, [POINTER(Model), c_char_p, c_int]),
    "ch_searches_free": (None, [c_void_p]),
    "ch_searches_rows": (c_int, [c_void_p]),
    "ch_searches_join": (c_int, [c_void_p, c_void_p, c_int, c_void_p]),
    "ch_searches_step": (c_int, [c_void_p, c_int, c_int, c_void_p, c_int]),
    "ch_searches_take": (c_int, [c_void_p, c_int64, POINTER(Found)]),
    "ch_searches_leave": (c_int, [c_void_p, c_int64]),
    "ch_searches_settled": (c_int, [c_void_p, c_int64, c_void_p]),
    "ch_encode_texts": (
        c_int,
        [POINTER(Model), c_char_p, c_int, c_void_p, c_void_p, c_void_p, c_int, c_void_p],
    ),
    "ch_head_logits": (c_int, [POINTER(Model), c_char_p, c_int, c_void_p, c_int, c_void_p]),
    "ch_kernels_of": (c_void_p, [c_char_p]),
    "ch_sizes_of_drawing": (None, [POINTER(c_int32)]),
    "ch_check_drawing": (c_int, [POINTER(Drawing), c_int]),
    "ch_sampler_new": (c_void_p, [c_char_p, c_int]),
    "ch_sampler_free": (None, [c_void_p]),
    "ch_sample": (c_int, [c_void_p, c_void_p, c_int, c_void_p, c_int, c_void_p, c_void_p]),
    "ch_best": (None, [c_void_p, c_void_p, c_int, c_void_p, c_void_p]),
    "ch_uniforms": (None, [c_void_p, c_void_p, c_void_p, c_uint64, c_int, c_void_p]),
}


def fault() -> str:
    """Says in a few words why the native engine does not compute here; nothing where it does.

    Raises:
        UsageError: the environment's CLEARHEAD_ENGINE asks for what is not there.
    """
    if wanted() == "off":
        return f"{VARIABLE} is off"
    _, reason = _opened()
    return reason


def library() -> ctypes.CDLL:
    """Returns the library.

    Raises:
        ModelError: it cannot be had, see ``fault``.
    """
    opened, reason = _opened()
    if opened is None:
        raise ModelError(f"the native engine: {reason}")
    return opened


def wanted() -> str:
    """Returns what CLEARHEAD_ENGINE asks for: a set of instructions, ``off``, or nothing."""
    word = os.environ.get(VARIABLE, "")
    if word and word not in WORDS:
        raise UsageError(f"{VARIABLE} = {word!r}: must be {', '.join(WORDS[:-1])} or {WORDS[-1]}")
    return word


def instructions() -> str:
    """Returns the set of instructions that computes: the best that the processor has, or the one asked for."""
    word = wanted()
    if word:
        if word not in available():
            raise UsageError(f"{VARIABLE} = {word!r}: this processor has {', '.join(available())}")
        return word
    return available()[-1]


def available() -> list[str]:
    """Returns the sets of instructions that library and processor both have, slowest first."""
    opened = library()
    return [name for name in get_args(Instructions) if opened.ch_has(name.encode())]


def check(status: Any) -> None:
    """Raises ModelError with the library's reason if a call's result says that it failed."""
    if status is None or status == -1:
        raise ModelError(library().ch_error().decode())


@functools.cache
def _opened() -> tuple[ctypes.CDLL | None, str]:
    """Returns the library, or why there is none."""
    if not build.LIBRARY.exists():
        return None, f"no native library in this installation; {REBUILD}"
    if build.STAMP.read_text(encoding="utf-8").strip() != build.digest():
        return None, f"the native library is older than its sources; {REBUILD}"
    try:
        opened = ctypes.CDLL(str(build.LIBRARY))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(opened, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        return None, f"the native library cannot be loaded: {str(error).splitlines()[0]}"
    sizes, of_drawing = (c_int32 * 7)(), (c_int32 * 2)()
    opened.ch_layout(sizes)
    opened.ch_sizes_of_drawing(of_drawing)
    expected = [ABI, *map(ctypes.sizeof, (Linear, Layer, Model, Search)), ASKED.itemsize, ctypes.sizeof(Phrase)]
    if [*sizes, *of_drawing] != [*expected, ctypes.sizeof(Drawing), WRITTEN.itemsize]:
        return None, f"the native library has another interface than these modules; {REBUILD}"
    return opened, ""
