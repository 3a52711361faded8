"""GPT-2, Llama and Qwen3 to our GPT and back: configs, ties, old files, reports, and which models are refused."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from clearhead.errors import ModelError
from clearhead.interop.gpt import gpt_from_hugging_face, gpt_to_hugging_face
from clearhead.interop.spelling import ACTIVATIONS
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from tests.small import shake

VOCAB = 11
SIZES: dict[str, Any] = {"d_model": 8, "d_ff": 12, "n_heads": 4, "n_layers": 2, "max_seq_len": 16, "dropout": 0.0}
LLAMA = BlockConfig(norm="rms", activation="swiglu", bias=False)
OURS = {
    "gpt2": GPTConfig(**SIZES | {"dropout": 0.3}, embed_dropout=0.1, block=BlockConfig("layer", activation="gelu")),
    "gpt2-untied": GPTConfig(**SIZES, embed_dropout=0.0, tie=False, block=BlockConfig(attn_dropout=0.2, norm_eps=0.1)),
    "llama": GPTConfig(**SIZES, n_kv_heads=2, position="rotary", rotary_theta=50.0, block=LLAMA),
    "llama-bias": GPTConfig(
        **SIZES, n_kv_heads=1, position="rotary", tie=False, block=dataclasses.replace(LLAMA, bias=True, norm_eps=0.1)
    ),
    "qwen3": GPTConfig(
        **SIZES, n_kv_heads=2, position="rotary", block=dataclasses.replace(LLAMA, attention="qk_norm", norm_eps=1e-3)
    ),
}
Foreign = tuple[dict[str, Any], dict[str, Tensor]]


def state_of(config: GPTConfig) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return shake(GPT(config, vocab_size=VOCAB)).state_dict()


def foreign(name: str, **words: Any) -> Foreign:
    """Returns one of ``OURS`` converted to Hugging Face's; ``words`` change its config, None removes a key."""
    config, tensors = gpt_to_hugging_face(OURS[name], state_of(OURS[name]), vocab_size=VOCAB, eos_id=2)
    config |= words
    return {key: value for key, value in config.items() if value is not None}, tensors


@pytest.mark.parametrize("name", OURS)
def test_there_and_back_nothing_changes(name: str) -> None:
    config, tensors, report = gpt_from_hugging_face(*foreign(name))
    state = state_of(OURS[name])
    assert config == OURS[name]
    assert tensors.keys() == state.keys()
    for key, tensor in tensors.items():
        stretched = name == "qwen3" and ("q_proj" in key or "k_proj" in key)  # and back: the last bit may differ
        assert torch.allclose(tensor, state[key], rtol=2e-7, atol=0) if stretched else torch.equal(tensor, state[key])
    assert (report.vocab_size, report.left) == (VOCAB, ())
    assert report.loaded == tuple(foreign(name)[1])


def test_what_theirs_lacks_are_rates_of_training() -> None:
    block = dataclasses.replace(LLAMA, mlp_dropout=0.1, stochastic_depth=0.1, attn_dropout=0.2)
    config = GPTConfig(**SIZES | {"dropout": 0.3}, n_kv_heads=4, position="rotary", block=block)
    back, _, _ = gpt_from_hugging_face(*gpt_to_hugging_face(config, state_of(config), vocab_size=VOCAB))
    assert back == dataclasses.replace(config, dropout=0.0, block=dataclasses.replace(LLAMA, attn_dropout=0.2))


def test_configs_as_hugging_face_writes_them() -> None:
    config, _ = foreign("gpt2", n_inner=48)
    ids = {"vocab_size": VOCAB, "eos_token_id": 2}
    assert config == ids | {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "n_embd": 8,
        "n_inner": 48,
        "n_head": 4,
        "n_layer": 2,
        "n_positions": 16,
        "resid_pdrop": 0.3,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu",
        "tie_word_embeddings": True,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
    }
    config, _ = foreign("llama")
    assert config == ids | {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "num_hidden_layers": 2,
        "max_position_embeddings": 16,
        "rope_theta": 50.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "pretraining_tp": 1,
        "attention_dropout": 0.0,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
    }


def test_what_a_config_leaves_out_has_their_default() -> None:
    sizes = ("n_embd", "n_head", "n_layer", "n_positions", "vocab_size", "model_type")
    config, tensors = foreign("gpt2")
    short = {key: config[key] for key in sizes}
    tensors = {name: torch.zeros(32, 8) if "mlp.c_proj.weight" in name else t for name, t in tensors.items()}
    tensors |= {name: torch.zeros(8, 32) for name in tensors if "c_fc.weight" in name}
    tensors |= {name: torch.zeros(32) for name in tensors if "c_fc.bias" in name}
    ours, _, _ = gpt_from_hugging_face(short, tensors)
    block = BlockConfig(activation="gelu_tanh", attn_dropout=0.1)
    assert ours == GPTConfig(**SIZES | {"dropout": 0.1, "d_ff": 32}, embed_dropout=0.1, tie=True, block=block)

    config, tensors = foreign("llama", rope_theta=None, rope_parameters=None, rms_norm_eps=None)
    for name in ("hidden_act", "pretraining_tp", "attention_dropout", "attention_bias", "mlp_bias"):
        del config[name]
    ours, _, _ = gpt_from_hugging_face(config, tensors)
    block = dataclasses.replace(LLAMA, norm_eps=1e-6)
    assert ours == dataclasses.replace(OURS["llama"], rotary_theta=10000.0, block=block)
    del config["tie_word_embeddings"]
    assert gpt_from_hugging_face(config, tensors)[0].tie is False


@pytest.mark.parametrize(
    ("words", "theta"),
    [
        ({"rope_theta": 9.0, "rope_parameters": None}, 9.0),  # transformers 4
        ({"rope_theta": 9.0, "rope_parameters": None, "rope_scaling": {"type": "default"}}, 9.0),
        ({"rope_theta": None, "rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}, 7.0),  # transformers 5
    ],
)
def test_the_base_of_the_rotation_is_found_where_each_version_has_it(words: dict[str, Any], theta: float) -> None:
    assert gpt_from_hugging_face(*foreign("llama", **words))[0].rotary_theta == theta


@pytest.mark.parametrize("theirs", ACTIVATIONS)
def test_activations(theirs: str) -> None:
    config, tensors, _ = gpt_from_hugging_face(*foreign("gpt2", activation_function=theirs))
    assert config.block.activation == ACTIVATIONS[theirs]
    back, _ = gpt_to_hugging_face(config, tensors, vocab_size=VOCAB)
    assert back["activation_function"] == ("gelu_new" if theirs == "gelu_pytorch_tanh" else theirs)


def test_a_tied_output_layer_may_be_missing_and_must_be_the_table() -> None:
    config, tensors = foreign("gpt2")
    assert tensors["lm_head.weight"].data_ptr() == tensors["transformer.wte.weight"].data_ptr()
    del tensors["lm_head.weight"]
    _, state, _ = gpt_from_hugging_face(config, tensors)
    assert torch.equal(state["lm_head.weight"], state["embedding.tokens.weight"])
    other = {name: tensor for name, tensor in foreign("gpt2")[1].items() if name != "transformer.wte.weight"}
    assert torch.equal(gpt_from_hugging_face(config, other)[1]["embedding.tokens.weight"], state["lm_head.weight"])
    del state["lm_head.weight"]
    assert "lm_head.weight" in gpt_to_hugging_face(OURS["gpt2"], state, vocab_size=VOCAB)[1]
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"] + 1
    with pytest.raises(ModelError, match=r"tensor 'lm_head.weight' differs from 'transformer.wte.weight', to which"):
        gpt_from_hugging_face(config, tensors)
    config, tensors = foreign("gpt2-untied")
    del tensors["lm_head.weight"]
    with pytest.raises(ModelError, match=r"tensor 'lm_head.weight' is missing"):
        gpt_from_hugging_face(config, tensors)


@pytest.mark.parametrize(("name", "stem"), [("gpt2", "transformer."), ("llama", "model.")])
def test_old_files_and_bare_models(name: str, stem: str) -> None:
    config, tensors = foreign(name)
    expected = gpt_from_hugging_face(config, tensors)
    constants = {
        "gpt2": ["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias"],
        "llama": ["model.layers.0.self_attn.rotary_emb.inv_freq"],
    }[name]
    bare = {key.removeprefix(stem): tensor for key, tensor in tensors.items() if key != "lm_head.weight"}
    bare |= {key.removeprefix(stem): torch.ones(1) for key in constants}
    ours, state, report = gpt_from_hugging_face(config, bare)
    assert ours == expected[0]
    assert all(torch.equal(tensor, state[key]) for key, tensor in expected[1].items())
    assert report.left == tuple(constants)
    assert sorted(report.loaded) == sorted(tensors)


@pytest.mark.long_but(every=6)
@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        ("gpt2", {"model_type": "mistral"}, "config.json: model_type = 'mistral': must be 'gpt2' or 'llama'"),
        ("gpt2", {"model_type": None}, "config.json: model_type = None: must be 'gpt2' or 'llama'"),
        ("gpt2", {"scale_attn_weights": False}, "config.json: scale_attn_weights = False: must be True"),
        (
            "gpt2",
            {"scale_attn_by_inverse_layer_idx": True},
            "config.json: scale_attn_by_inverse_layer_idx = True: must be False",
        ),
        ("gpt2", {"reorder_and_upcast_attn": True}, "config.json: reorder_and_upcast_attn = True: must be False"),
        ("gpt2", {"add_cross_attention": True}, "config.json: add_cross_attention = True: must be False"),
        ("gpt2", {"activation_function": "mish"}, "config.json: activation_function = 'mish': must be 'gelu_py"),
        ("gpt2", {"vocab_size": None}, "config.json: vocab_size = None: must be a whole number of at least 1"),
        ("gpt2", {"vocab_size": 0}, "config.json: vocab_size = 0: must be a whole number of at least 1"),
        ("gpt2", {"n_embd": None}, "config.json: n_embd is missing"),
        ("gpt2", {"n_embd": "8", "n_inner": None}, "config.json: d_model = '8': input should be a valid integer"),
        ("gpt2", {"n_head": 3}, "config.json: model.n_heads = 3: must divide model.d_model = 8"),
        ("gpt2", {"resid_pdrop": 1.5}, "config.json: dropout = 1.5: input should be less than 1"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4}},
            "config.json: rope_parameters.rope_type = 'longrope': must be 'default' or 'linear' or 'dynamic' or",
        ),
        (
            "llama",
            {"rope_scaling": {"type": "linear"}},
            "config.json: rope_scaling.factor is missing: rope_type 'linear' needs it",
        ),
        ("qwen3", {"head_dim": 4}, "config.json: head_dim = 4: must be 2"),
        ("qwen3", {"use_sliding_window": True}, "config.json: use_sliding_window = True: must be False"),
        ("qwen3", {"attention_bias": True}, "config.json: attention_bias = True: must be False"),
        (
            "qwen3",
            {"layer_types": ["full_attention", "sliding_attention"]},
            "config.json: layer_types = 'sliding_attention': must be 'full_attention'",
        ),
        ("llama", {"mlp_bias": True}, "config.json: mlp_bias = True: must be False"),
        ("llama", {"attention_bias": True}, "config.json: mlp_bias = False: must be True"),
        ("llama", {"head_dim": 4}, "config.json: head_dim = 4: must be None or 2"),
        ("llama", {"pretraining_tp": 2}, "config.json: pretraining_tp = 2: must be 1 or None"),
        ("llama", {"hidden_act": "gelu"}, "config.json: hidden_act = 'gelu': must be 'silu' or 'swish'"),
    ],
)
def test_what_our_model_is_not_is_refused_by_name(name: str, words: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        gpt_from_hugging_face(*foreign(name, **words))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_tensors_that_do_not_fit_are_named(name: str) -> None:
    config, tensors = foreign(name)
    first = next(key for key in tensors if key.endswith(("c_attn.weight", "k_proj.weight")))
    shape, other = list(tensors[first].shape), tensors[first].T[1:]
    refused = {
        f"tensor {first!r} is missing": {key: tensor for key, tensor in tensors.items() if key != first},
        "tensor 'score.weight' is not part of this model": tensors | {"score.weight": torch.zeros(2, 8)},
        f"tensor {first!r} has shape {list(other.shape)}, this model needs {shape}": tensors | {first: other},
    }
    for message, given in refused.items():
        with pytest.raises(ModelError) as caught:
            gpt_from_hugging_face(config, given)
        assert str(caught.value) == message
    with pytest.raises(ModelError, match=r"tensor '\w+\.\w+\.weight' has shape \[11, 8\], this model needs \[12, 8\]"):
        gpt_from_hugging_face(config | {"vocab_size": VOCAB + 1}, tensors)
    more_layers = config | {"n_layer": 3, "num_hidden_layers": 3}
    with pytest.raises(ModelError, match=r"tensor '[\w.]+\.2\.[\w.]+' is missing"):
        gpt_from_hugging_face(more_layers, tensors)


@pytest.mark.parametrize(
    ("words", "block", "message"),
    [
        ({"position": "alibi"}, {}, "gpt2: model.position = 'alibi': must be 'learned'"),
        ({"position": "sinusoidal"}, {}, "gpt2: model.position = 'sinusoidal': must be 'learned'"),
        ({"position": "none"}, {}, "gpt2: model.position = 'none': must be 'learned'"),
        ({"n_kv_heads": 2}, {}, "gpt2: model.n_kv_heads = 2: must be 4"),
        ({}, {"attention": "qk_norm"}, "gpt2: model.block.attention = 'qk_norm': must be 'scaled_dot_product'"),
        ({}, {"norm": "rms"}, "gpt2: model.block.norm = 'rms': must be 'layer'"),
        ({}, {"norm": "group"}, "gpt2: model.block.norm = 'group': must be 'layer'"),
        ({}, {"norm_position": "post"}, "gpt2: model.block.norm_position = 'post': must be 'pre'"),
        ({}, {"bias": False}, "gpt2: model.block.bias = False: must be True"),
        ({}, {"mlp": False}, "gpt2: model.block.mlp = False: must be True"),
        ({}, {"residual": False}, "gpt2: model.block.residual = False: must be True"),
        ({}, {"activation": "swiglu"}, "gpt2: model.block.activation = 'swiglu': must be 'gelu_tanh' or 'gelu' or"),
        ({"position": "rotary"}, {}, "llama: model.block.norm = 'layer': must be 'rms'"),
        ({"position": "rotary"}, {"norm": "rms"}, "llama: model.block.activation = 'relu': must be 'swiglu'"),
    ],
)
def test_what_theirs_is_not_is_refused_by_name(words: dict[str, Any], block: dict[str, Any], message: str) -> None:
    config = GPTConfig(**SIZES, **words, block=BlockConfig(**block))
    with pytest.raises(ModelError) as caught:
        gpt_to_hugging_face(config, state_of(config), vocab_size=VOCAB)
    assert str(caught.value).startswith(f"Hugging Face's {message}")


def test_our_tensors_are_checked_too() -> None:
    config = OURS["llama"]
    state = state_of(config)
    with pytest.raises(ModelError, match=r"tensor '[\w.]+' has shape \[11, 8\], this model needs \[9, 8\]"):
        gpt_to_hugging_face(config, state, vocab_size=9)
    del state["norm.weight"]
    with pytest.raises(ModelError, match=r"tensor 'norm.weight' is missing"):
        gpt_to_hugging_face(config, state, vocab_size=VOCAB)


def test_nothing_is_drawn_and_nothing_given_is_changed() -> None:
    config, tensors = foreign("gpt2")
    del tensors["lm_head.weight"]
    before, random = (dict(config), list(tensors)), torch.get_rng_state()
    gpt_from_hugging_face(config, tensors)
    assert (config, list(tensors)) == before
    assert torch.equal(torch.get_rng_state(), random)
