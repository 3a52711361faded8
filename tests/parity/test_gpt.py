"""Parity: our GPT and Hugging Face's GPT-2, Llama and Qwen3 give the same logits and texts, in both directions."""

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from clearhead.decode.rows import RowsDecoding
from clearhead.interop.gpt import gpt_from_hugging_face, gpt_to_hugging_face
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.nn.layer import BlockConfig
from tests.small import VOCAB, assert_near, padded, random_rows, shake

TOLERANCE = 1e-5  # ten times stricter than promised
IDS: dict[str, Any] = {"bos_token_id": 1, "eos_token_id": None, "pad_token_id": None}
GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 40, **IDS}
LLAMA: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
    **IDS,
}
MODELS = [
    ("gpt2", {}),
    ("gpt2", {"n_inner": 48, "tie_word_embeddings": False, "activation_function": "relu", "layer_norm_epsilon": 0.01}),
    ("gpt2", {"activation_function": "gelu"}),
    ("llama", {}),
    ("llama", {"num_key_value_heads": 1, "tie_word_embeddings": True, "rms_norm_eps": 0.01}),
    ("llama", {"num_key_value_heads": 4, "attention_bias": True, "mlp_bias": True}),
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 50.0}}),
    ("qwen3", {"head_dim": 8}),
    ("qwen3", {"head_dim": 8, "num_key_value_heads": 1, "tie_word_embeddings": True, "rms_norm_eps": 0.01}),
    ("qwen3", {"head_dim": 4, "num_attention_heads": 8, "num_key_value_heads": 8}),
]
YARN = {"factor": 4.0, "original_max_position_embeddings": 40}
BANDS = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 40}
ROPES: list[dict[str, Any]] = [
    {},
    {"rope_scaling": {"type": "linear", "factor": 4.0}},
    {"rope_scaling": {"type": "dynamic", "factor": 4.0}},
    {"rope_scaling": {"rope_type": "llama3", **BANDS}, "max_position_embeddings": 160},
    {"rope_scaling": {"type": "yarn", **YARN}, "max_position_embeddings": 160},
    {"rope_parameters": {"rope_type": "yarn", "factor": None, "original_max_position_embeddings": 20}},
    {"rope_parameters": {"rope_type": "yarn", **YARN, "mscale": 1.0, "mscale_all_dim": 0.5, "truncate": False}},
    {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "attention_factor": 1.3, "beta_fast": 9, "beta_slow": 2}},
    # what their library prefers where keys disagree
    {"rope_scaling": {"type": "linear", "factor": 4.0}, "rope_parameters": {"rope_type": "default"}, "rope_theta": 9.0},
    {"rope_scaling": {"type": "dynamic", "factor": 4.0}, "rope_parameters": {"rope_theta": 77.0}},
    {"rope_parameters": {"rope_type": "llama3", "rope_theta": 77.0, **BANDS}, "rope_theta": 9.0}
    | {"original_max_position_embeddings": 20, "max_position_embeddings": 160},
]
OURS = [
    GPTConfig(d_model=32, d_ff=48, n_heads=4, n_layers=2, max_seq_len=40),
    GPTConfig(d_model=32, d_ff=48, n_heads=2, n_layers=2, max_seq_len=40, tie=False, block=BlockConfig()),
    GPTConfig(
        d_model=32,
        d_ff=48,
        n_heads=4,
        n_kv_heads=2,
        n_layers=2,
        max_seq_len=40,
        position="rotary",
        rotary_theta=50.0,
        block=BlockConfig(norm="rms", activation="swiglu", bias=False, norm_eps=0.01),
    ),
    GPTConfig(
        d_model=32,
        d_ff=48,
        n_heads=4,
        n_layers=2,
        max_seq_len=40,
        position="rotary",
        tie=False,
        block=BlockConfig(norm="rms", activation="swiglu"),
    ),
    *(
        GPTConfig(
            d_model=32,
            d_ff=48,
            n_layers=2,
            max_seq_len=40,
            position="rotary",
            **sizes,
            block=BlockConfig(norm="rms", activation="swiglu", attention="qk_norm", bias=False, norm_eps=eps),
        )
        for sizes, eps in (
            ({"n_heads": 4, "tie": False}, 1e-5),
            ({"n_heads": 4, "n_kv_heads": 2, "rotary_theta": 50.0}, 1e-5),
            ({"n_heads": 2, "n_kv_heads": 1}, 0.01),
        )
    ),
]


def enlarged(model: nn.Module) -> nn.Module:
    """Moves the weights of a fresh model to where attention is uneven and texts are not one piece repeated."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.data *= 4 if "wte" in name or "tokens" in name else 8
    return shake(model).eval()


def ones(theirs: Any) -> Any:
    """Sets the gains of queries and keys, which ours does not have, to 1."""
    for name, parameter in theirs.named_parameters():
        if "q_norm" in name or "k_norm" in name:
            parameter.data.fill_(1)
    return theirs


def theirs_of(kind: str, words: dict[str, Any]) -> Any:
    """Returns a random model of Hugging Face."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    if kind == "gpt2":
        return enlarged(GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, **{**GPT2, **words})))
    if kind == "qwen3":
        return ones(enlarged(Qwen3ForCausalLM(Qwen3Config(vocab_size=VOCAB, **{**LLAMA, **words}))))
    return enlarged(LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, **{**LLAMA, **words})))


def rebuilt(config: dict[str, Any], tensors: dict[str, Tensor]) -> Any:
    """Returns the model of Hugging Face that a config and tensors describe."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def is_stretched(config: GPTConfig, name: str) -> bool:
    """Whether a tensor is multiplied on the way, so that its last bit may change."""
    return config.block.attention == "qk_norm" and ("q_proj" in name or "k_proj" in name)


def ours_of(theirs: Any) -> GPT:
    config, tensors, report = gpt_from_hugging_face(theirs.config.to_dict(), theirs.state_dict())
    model = GPT(config, vocab_size=report.vocab_size)
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def check_logits(ours: GPT, theirs: Any) -> None:
    """Compares a plain batch and one with padding on the left, for which Hugging Face needs explicit positions."""
    ids = torch.tensor(random_rows([11, 11, 11]))
    expected = theirs(input_ids=ids, use_cache=False).logits
    assert expected.std() > 0.2
    assert_near(ours(ids), expected, TOLERANCE)
    ids, mask = padded(random_rows([9, 2, 6]), "left")
    places = (mask.long().cumsum(1) - 1).clamp(min=0)
    expected = theirs(input_ids=ids, attention_mask=mask.long(), position_ids=places, use_cache=False).logits
    assert_near(ours(ids, mask=mask)[mask], expected[mask], TOLERANCE)


def greedy(model: GPT, ids: Tensor, mask: Tensor, pieces: int) -> Tensor:
    """Returns the most probable continuation, computed piece by piece with the cache."""
    cache, new = model.new_cache(len(ids)), ids
    for _ in range(pieces):
        new = model(new, mask=mask, cache=cache)[:, -1:].argmax(-1)
        ids, mask = torch.cat([ids, new], 1), torch.cat([mask, torch.ones_like(new, dtype=torch.bool)], 1)
    return ids[:, -pieces:]


@pytest.mark.parametrize(("kind", "words"), MODELS)
@torch.no_grad()
def test_their_weights_in_our_model(kind: str, words: dict[str, Any]) -> None:
    theirs = theirs_of(kind, words)
    check_logits(ours_of(theirs), theirs)


@pytest.mark.parametrize("config", OURS)
@torch.no_grad()
def test_our_weights_in_their_model(config: GPTConfig) -> None:
    torch.manual_seed(0)
    ours = enlarged(GPT(config, vocab_size=VOCAB))
    theirs = rebuilt(*gpt_to_hugging_face(config, ours.state_dict(), vocab_size=VOCAB))
    assert theirs.lm_head.weight.data_ptr() == theirs.get_input_embeddings().weight.data_ptr() or not config.tie
    check_logits(ours, theirs)
    again = ours_of(theirs)
    for name, tensor in ours.state_dict().items():
        assert torch.allclose(tensor, again.state_dict()[name], rtol=2e-7 if is_stretched(config, name) else 0, atol=0)


@pytest.mark.parametrize(("kind", "words"), MODELS)
@torch.no_grad()
def test_there_and_back_nothing_changes(kind: str, words: dict[str, Any]) -> None:
    theirs = theirs_of(kind, words)
    config, tensors, report = gpt_from_hugging_face(theirs.config.to_dict(), theirs.state_dict())
    tree, back = gpt_to_hugging_face(config, tensors, vocab_size=report.vocab_size, bos_id=1)
    assert back.keys() == theirs.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.allclose(tensor, back[name], rtol=2e-7 if is_stretched(config, name) else 0, atol=0)
    again = rebuilt(tree, back).config.to_dict()
    first = {**theirs.config.to_dict(), "architectures": again["architectures"]}
    differ = {name for name in first if first[name] != again.get(name)}
    assert differ <= {"n_inner", "dtype", "_name_or_path"}  # n_inner: null means 4 * n_embd


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize(("kind", "words"), MODELS)
@torch.no_grad()
def test_greedy_continuation_with_the_cache(kind: str, words: dict[str, Any]) -> None:
    theirs = theirs_of(kind, words)
    ids, mask = padded(random_rows([5, 12, 1]), "left")
    generated = theirs.generate(
        ids, attention_mask=mask.long(), do_sample=False, max_new_tokens=20, min_new_tokens=20, pad_token_id=0
    )
    ours = greedy(ours_of(theirs), ids, mask, 20)
    assert torch.equal(ours, generated[:, -20:])
    assert len(set(ours.flatten().tolist())) > 2


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("words", ROPES, ids=lambda words: json.dumps(words)[:60])
@torch.no_grad()
def test_scaled_rotations_on_long_texts(words: dict[str, Any]) -> None:
    """As long as the scaling allows: the logits of theirs, by cache and without, and again after the way back."""
    raw = {"model_type": "llama", "vocab_size": VOCAB, **LLAMA, **words}
    theirs = theirs_of("llama", copy.deepcopy(words))
    config, tensors, _ = gpt_from_hugging_face(raw, theirs.state_dict())
    ours = GPT(config, vocab_size=VOCAB).eval()
    ours.load_state_dict(tensors)
    length = config.max_seq_len
    assert length == (160 if words and "null" not in json.dumps(words) else 40)
    ids = torch.tensor(random_rows([length]))
    expected = theirs(input_ids=ids, use_cache=False).logits
    assert_near(ours(ids), expected, 1e-4)
    again, _ = gpt_to_hugging_face(config, tensors, vocab_size=VOCAB)
    assert gpt_from_hugging_face(again, theirs.state_dict())[0] == config
    for name in ("rope_parameters", "rope_scaling"):  # each alone, as versions 5 and 4 read them
        one = {key: value for key, value in again.items() if key not in {"rope_parameters", "rope_scaling"} - {name}}
        assert_near(rebuilt(copy.deepcopy(one), theirs.state_dict())(ids, use_cache=False).logits, expected, 1e-4)


@torch.no_grad()
def test_a_dynamic_rotation_is_that_of_each_text_alone() -> None:
    """Texts on both sides of the original length, piece by piece, backwards, and beside longer ones."""
    theirs = theirs_of("llama", {"rope_scaling": {"type": "dynamic", "factor": 4.0}, "max_position_embeddings": 10})
    ours, prompts = ours_of(theirs), random_rows([9, 25, 4])
    alone = [ours(torch.tensor([prompt]))[0, -1] for prompt in prompts]
    rows = RowsDecoding(ours, prompts)
    assert_near(rows.logits, torch.stack(alone), TOLERANCE)
    new = torch.tensor(random_rows([6, 6, 6]))
    for column in new.unbind(1):
        rows.advance(column)
    longer = [torch.tensor([[*prompt, *pieces]]) for prompt, pieces in zip(prompts, new.tolist(), strict=True)]
    assert_near(rows.logits, torch.stack([ours(ids)[0, -1] for ids in longer]), TOLERANCE)
    rows.keep(torch.tensor([0]))  # 15 pieces, and then 10 and 11
    rows.back(5)
    assert_near(rows.advance(new[:1, 0]), ours(torch.cat([longer[0][:, :10], new[:1, :1]], 1))[:, -1], TOLERANCE)
    cache = ours.new_cache(1)
    ours(longer[2][:, :9], cache=cache)
    with pytest.raises(ValueError, match="11 pieces with dynamic positions: beyond 10 compute all anew"):
        ours(longer[2][:, :2], cache=cache)
