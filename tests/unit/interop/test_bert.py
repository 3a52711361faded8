"""BERT to our encoder-only models and back: configs, heads, old files, reports, and which models are refused."""

import dataclasses
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from clearhead.errors import ModelError
from clearhead.interop.bert import CLASSES, TABLE, bert_from_hugging_face, bert_to_hugging_face
from clearhead.interop.spelling import ACTIVATIONS
from clearhead.models.bert import BertConfig, BertKind, build_bert
from clearhead.nn.layer import BlockConfig
from tests.small import shake

VOCAB = 11
KINDS = get_args(BertKind)
LABELS = {"sequence": ("no", "yes", "maybe"), "token": ("O", "B-PER"), "regression": ("score",)}
SIZES: dict[str, Any] = {"d_model": 8, "d_ff": 12, "n_heads": 4, "n_layers": 2, "max_seq_len": 16}
BLOCK = BlockConfig(norm_position="post", norm_eps=1e-12, activation="gelu", attn_dropout=0.2)
OURS = BertConfig(**SIZES, n_segments=3, dropout=0.3, head_dropout=0.4, block=BLOCK)
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
NSP = ("cls.seq_relationship.weight", "cls.seq_relationship.bias")
CLASSIFIER = ("classifier.weight", "classifier.bias")
MLM = (
    *("cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias"),
    *("cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias"),
    "cls.predictions.decoder.bias",
)
Foreign = tuple[dict[str, Any], dict[str, Tensor]]


def state_of(kind: BertKind, config: BertConfig = OURS) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return shake(build_bert(kind, config, vocab_size=VOCAB, n_labels=len(LABELS.get(kind, "1")))).state_dict()


def foreign(kind: BertKind, **words: Any) -> Foreign:
    """Returns one of our models converted to Hugging Face's; ``words`` change its config, None removes a key."""
    config, tensors = bert_to_hugging_face(
        OURS, state_of(kind), kind=kind, vocab_size=VOCAB, pad_id=0, labels=LABELS.get(kind, ())
    )
    config |= words
    return {key: value for key, value in config.items() if value is not None}, tensors


def equal(state: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in state)


@pytest.mark.long_but(every=3)
@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_nothing_changes(kind: BertKind) -> None:
    foreign_config, tensors = foreign(kind)
    config, state, report = bert_from_hugging_face(foreign_config, tensors)
    assert config == OURS
    assert equal(state, state_of(kind))
    assert (report.kind, report.vocab_size, report.labels) == (kind, VOCAB, LABELS.get(kind, ()))
    assert report.loaded == tuple(tensors)
    assert (report.left, report.missing) == ((), ())
    build_bert(kind, config, vocab_size=VOCAB, n_labels=len(report.labels) or 1).load_state_dict(state)
    again = bert_to_hugging_face(config, state, kind=kind, vocab_size=VOCAB, pad_id=0, labels=report.labels)
    assert again[0].items() >= foreign_config.items()
    assert equal(again[1], tensors)


def test_a_config_as_hugging_face_writes_it() -> None:
    config, _ = foreign("sequence")
    assert config == {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "problem_type": "single_label_classification",
        "id2label": {"0": "no", "1": "yes", "2": "maybe"},
        "label2id": {"no": 0, "yes": 1, "maybe": 2},
        "vocab_size": VOCAB,
        "pad_token_id": 0,
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "max_position_embeddings": 16,
        "type_vocab_size": 3,
        "hidden_dropout_prob": 0.3,
        "attention_probs_dropout_prob": 0.2,
        "classifier_dropout": 0.4,
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    }
    assert {kind: foreign(kind)[0]["architectures"] for kind in KINDS} == {kind: [CLASSES[kind]] for kind in KINDS}
    assert "id2label" not in foreign("pretraining")[0]
    foreign_config, _ = bert_to_hugging_face(OURS, state_of("token"), kind="token", vocab_size=VOCAB)
    assert foreign_config["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}


def test_what_a_config_leaves_out_has_their_default() -> None:
    sizes = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "max_position_embeddings")
    config, tensors = foreign("pretraining")
    tensors["bert.embeddings.token_type_embeddings.weight"] = torch.zeros(2, 8)
    ours, _, _ = bert_from_hugging_face({key: config[key] for key in (*sizes, "vocab_size", "model_type")}, tensors)
    assert ours == BertConfig(**SIZES, block=dataclasses.replace(BLOCK, attn_dropout=0.1))


def test_what_theirs_lacks_are_rates_of_training() -> None:
    config = dataclasses.replace(
        OURS, embed_dropout=0.0, n_kv_heads=4, block=dataclasses.replace(BLOCK, mlp_dropout=0.1, stochastic_depth=0.1)
    )
    back, _, _ = bert_from_hugging_face(
        *bert_to_hugging_face(config, state_of("encoder"), kind="encoder", vocab_size=VOCAB)
    )
    assert back == OURS


@pytest.mark.parametrize("theirs", ACTIVATIONS)
def test_activations(theirs: str) -> None:
    config, state, _ = bert_from_hugging_face(*foreign("pooled", hidden_act=theirs))
    assert config.block.activation == ACTIVATIONS[theirs]
    back, _ = bert_to_hugging_face(config, state, kind="pooled", vocab_size=VOCAB)
    assert ACTIVATIONS[back["hidden_act"]] == ACTIVATIONS[theirs]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_class_is_known_by_its_heads(kind: BertKind) -> None:
    config, tensors = foreign(kind, architectures=None)
    assert bert_from_hugging_face(config, tensors)[2].kind == kind


@pytest.mark.parametrize(
    ("words", "kind", "labels"),
    [
        ({"problem_type": None}, "sequence", ("no", "yes", "maybe")),
        ({"problem_type": None, "id2label": None, "num_labels": 3}, "sequence", ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": {2: "c", 10: "d", 0: "a"}}, "sequence", ("a", "c", "d")),
        ({"id2label": {"0": "x"}, "problem_type": None}, "regression", ("x",)),
        ({"id2label": {"0": "x"}}, "sequence", ("x",)),
    ],
)
def test_labels_and_problems(words: dict[str, Any], kind: str, labels: tuple[str, ...]) -> None:
    config, tensors = foreign("sequence", **words)
    tensors = {name: tensor[: len(labels)] if name in CLASSIFIER else tensor for name, tensor in tensors.items()}
    report = bert_from_hugging_face(config, tensors)[2]
    assert (report.kind, report.labels) == (kind, labels)


@pytest.mark.long_but(every=4)
@pytest.mark.parametrize(
    ("was", "kind", "left", "missing"),
    [
        ("pretraining", "masked", (*POOLER, *NSP), ()),
        ("pretraining", "encoder", (*POOLER, *MLM, "cls.predictions.decoder.weight", "cls.predictions.bias", *NSP), ()),
        ("pretraining", "sequence", (*MLM, "cls.predictions.decoder.weight", "cls.predictions.bias", *NSP), CLASSIFIER),
        ("masked", "token", (*MLM, "cls.predictions.decoder.weight", "cls.predictions.bias"), CLASSIFIER),
        ("masked", "pretraining", (), (*POOLER, *NSP)),
        ("masked", "pooled", (*MLM, "cls.predictions.decoder.weight", "cls.predictions.bias"), POOLER),
        ("encoder", "regression", (), (*POOLER, *CLASSIFIER)),
        ("pooled", "pretraining", (), (*MLM, *NSP)),
        ("pooled", "encoder", POOLER, ()),
        ("sequence", "regression", CLASSIFIER, CLASSIFIER),
        ("sequence", "token", (*POOLER, *CLASSIFIER), CLASSIFIER),
        ("token", "sequence", CLASSIFIER, (*POOLER, *CLASSIFIER)),
        ("sequence", "sequence", (), ()),
    ],
)
def test_heads_that_are_not_asked_for_and_those_that_are_not_there(
    was: BertKind, kind: BertKind, left: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    foreign_config, tensors = foreign(was)
    config, state, report = bert_from_hugging_face(foreign_config, tensors, kind=kind)
    own = {name.removeprefix("bert.") for name in report.left}, {name.removeprefix("bert.") for name in report.missing}
    assert own == (set(left), set(missing))
    assert {*report.loaded, *report.left} == tensors.keys()
    model = build_bert(kind, config, vocab_size=VOCAB, n_labels=len(report.labels) or 1)
    new, unknown = model.load_state_dict(state, strict=False)
    assert unknown == []
    assert len(new) == len(missing)
    before = {name.removeprefix("bert."): tensor for name, tensor in state_of(was).items()}
    assert all(
        torch.equal(tensor, before[name.removeprefix("bert.")]) for name, tensor in state.items() if name in before
    )


def test_a_classifier_of_other_labels_stays_behind() -> None:
    config, tensors = foreign("sequence")
    assert bert_from_hugging_face(config, tensors, kind="sequence", n_labels=3)[2].missing == ()
    _, state, report = bert_from_hugging_face(config, tensors, kind="sequence", n_labels=5)
    assert (report.left, report.missing) == (CLASSIFIER, CLASSIFIER)
    assert report.labels == ("LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3", "LABEL_4")
    assert "head.out_proj.weight" not in state
    assert bert_from_hugging_face(config, tensors, n_labels=5)[2] == report
    assert bert_from_hugging_face(*foreign("masked"), kind="regression")[2].labels == ("LABEL_0",)


def test_old_files() -> None:
    config, tensors = foreign("pretraining")
    _, expected, _ = bert_from_hugging_face(config, tensors)
    old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
    aged = {}
    for name, tensor in tensors.items():
        if name not in ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"):
            new = next((name.replace(now, then) for now, then in old.items() if name.endswith(now)), name)
            aged[new] = tensor
    aged["bert.embeddings.position_ids"] = torch.arange(16)[None]
    assert "bert.encoder.layer.1.output.LayerNorm.gamma" in aged
    _, state, report = bert_from_hugging_face(config, aged)
    assert equal(state, expected)
    assert report.left == ("bert.embeddings.position_ids",)
    assert report.loaded == tuple(name for name in aged if name not in report.left)
    del tensors["cls.predictions.bias"]
    assert equal(bert_from_hugging_face(config, tensors)[1], expected)


def test_tied_tensors_must_be_the_same() -> None:
    config, tensors = foreign("masked")
    for kind in (None, "encoder"):  # a file holds either one of a pair
        first = bert_from_hugging_face(config, tensors, kind=kind)
        for name in ("cls.predictions.decoder.weight", f"bert.{TABLE}"):
            other = {key: tensor for key, tensor in tensors.items() if key != name}
            assert equal(bert_from_hugging_face(config, other, kind=kind)[1], first[1])
    pointers = {tensors[name].data_ptr() for name in ("cls.predictions.decoder.weight", f"bert.{TABLE}")}
    assert len(pointers) == 1
    for name, other in (
        ("cls.predictions.decoder.weight", "bert.embeddings.word_embeddings.weight"),
        ("cls.predictions.decoder.bias", "cls.predictions.bias"),
    ):
        with pytest.raises(ModelError) as caught:
            bert_from_hugging_face(config, tensors | {name: tensors[name] + 1})
        assert str(caught.value) == f"tensor {name!r} differs from {other!r}, to which the config ties it"
    state = state_of("masked")
    del state["mlm_head.out_proj.weight"]  # as in a checkpoint
    _, back = bert_to_hugging_face(OURS, state, kind="masked", vocab_size=VOCAB)
    assert equal(back, tensors)
    state["mlm_head.out_proj.weight"] = torch.zeros(VOCAB, 8)
    with pytest.raises(ModelError, match=r"'mlm_head.out_proj.weight' differs from 'bert.embedding.tokens.weight'"):
        bert_to_hugging_face(OURS, state, kind="masked", vocab_size=VOCAB)


@pytest.mark.long_but(every=5)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model_type": "roberta"}, "config.json: model_type = 'roberta': must be 'bert'"),
        ({"model_type": None}, "config.json: model_type = None: must be 'bert'"),
        ({"position_embedding_type": "relative_key"}, "config.json: position_embedding_type = 'relative_key': must be"),
        ({"is_decoder": True}, "config.json: is_decoder = True: must be False"),
        ({"add_cross_attention": True}, "config.json: add_cross_attention = True: must be False"),
        ({"tie_word_embeddings": False}, "config.json: tie_word_embeddings = False: must be True"),
        ({"hidden_act": "mish"}, "config.json: hidden_act = 'mish': must be 'gelu_pytorch_tanh' or"),
        (
            {"architectures": ["BertForQuestionAnswering"]},
            "config.json: architectures = 'BertForQuestionAnswering': must be 'BertModel' or 'BertForPreTraining' or",
        ),
        (
            {"problem_type": "multi_label_classification"},
            "config.json: problem_type = 'multi_label_classification': mu",
        ),
        ({"problem_type": "regression"}, "config.json: num_labels = 3: must be 1"),
        ({"id2label": {"a": "b"}}, "config.json: id2label = {'a': 'b'}: must be a table of numbers and names"),
        ({"id2label": ["a", "b"]}, "config.json: id2label = ['a', 'b']: must be a table of numbers and names"),
        ({"id2label": None, "num_labels": 0}, "config.json: num_labels = 0: must be a whole number of at least 1"),
        ({"id2label": None, "num_labels": "3"}, "config.json: num_labels = '3': must be a whole number of at least 1"),
        ({"vocab_size": None}, "config.json: vocab_size = None: must be a whole number of at least 1"),
        ({"hidden_size": None}, "config.json: hidden_size is missing"),
        ({"num_attention_heads": 3}, "config.json: model.n_heads = 3: must divide model.d_model = 8"),
        ({"hidden_dropout_prob": 1.5}, "config.json: dropout = 1.5: input should be less than 1"),
        ({"id2label": {"0": "a", "1": "b"}}, "tensor 'classifier.weight' has shape [3, 8], this model needs [2, 8]"),
    ],
)
def test_what_our_model_is_not_is_refused_by_name(words: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        bert_from_hugging_face(*foreign("sequence", **words))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("kind", ["pooled", "sequence"])
def test_tensors_that_do_not_fit_are_named(kind: BertKind) -> None:
    config, tensors = foreign(kind)
    first = next(name for name in tensors if name.endswith("intermediate.dense.weight"))
    refused = {
        f"tensor {first!r} is missing": {name: tensor for name, tensor in tensors.items() if name != first},
        "tensor 'qa_outputs.weight' is not part of this model": tensors | {"qa_outputs.weight": torch.zeros(2, 8)},
        f"tensor {first!r} has shape [8, 12], this model needs [12, 8]": tensors | {first: tensors[first].T},
    }
    for message, tensors in refused.items():
        for asked in (None, "token"):
            with pytest.raises(ModelError) as caught:
                bert_from_hugging_face(config, tensors, kind=asked)
            assert str(caught.value) == message
    with pytest.raises(ModelError, match=r"tensor '[\w.]+\.2\.[\w.]+' is missing"):
        bert_from_hugging_face(config | {"num_hidden_layers": 3}, tensors)


def test_a_head_that_the_class_says_must_be_there_and_whole() -> None:
    for kind, name in (("sequence", "classifier.weight"), ("pretraining", "cls.seq_relationship.bias")):
        config, tensors = foreign(kind)
        part = {key: tensor for key, tensor in tensors.items() if key != name}
        for asked in (None, kind):
            with pytest.raises(ModelError, match=f"tensor '{name}' is missing"):
                bert_from_hugging_face(config, part, kind=asked)
        none = {key: tensor for key, tensor in tensors.items() if not key.startswith(name.rpartition(".")[0])}
        with pytest.raises(ModelError, match=rf"tensor '{name.rpartition('.')[0]}\.\w+' is missing"):
            bert_from_hugging_face(config, none)
        assert name in bert_from_hugging_face(config, none, kind=kind)[2].missing


@pytest.mark.parametrize(
    ("words", "block", "message"),
    [
        ({"position": "rotary"}, {}, "model.position = 'rotary': must be 'learned'"),
        ({"n_kv_heads": 2}, {}, "model.n_kv_heads = 2: must be 4"),
        ({}, {"attention": "qk_norm"}, "model.block.attention = 'qk_norm': must be 'scaled_dot_product'"),
        ({}, {"norm": "rms"}, "model.block.norm = 'rms': must be 'layer'"),
        ({}, {"norm_position": "pre"}, "model.block.norm_position = 'pre': must be 'post'"),
        ({}, {"bias": False}, "model.block.bias = False: must be True"),
        ({}, {"mlp": False}, "model.block.mlp = False: must be True"),
        ({}, {"residual": False}, "model.block.residual = False: must be True"),
        ({}, {"activation": "geglu"}, "model.block.activation = 'geglu': must be 'gelu_tanh' or 'gelu' or"),
    ],
)
def test_what_theirs_is_not_is_refused_by_name(words: dict[str, Any], block: dict[str, Any], message: str) -> None:
    config = dataclasses.replace(OURS, **words, block=dataclasses.replace(BLOCK, **block))
    with pytest.raises(ModelError) as caught:
        bert_to_hugging_face(config, state_of("encoder", config), kind="encoder", vocab_size=VOCAB)
    assert str(caught.value).startswith(f"Hugging Face's bert: {message}")


def test_our_tensors_and_labels_are_checked_too() -> None:
    state = state_of("sequence")
    with pytest.raises(
        ModelError, match=r"tensor 'bert.embedding.tokens.weight' has shape \[11, 8\], this model needs \[9"
    ):
        bert_to_hugging_face(OURS, state, kind="sequence", vocab_size=9)
    with pytest.raises(ModelError, match=r"labels: 2 names, the model has 3 classes"):
        bert_to_hugging_face(OURS, state, kind="sequence", vocab_size=VOCAB, labels=["a", "b"])
    with pytest.raises(ModelError, match=r"tensor 'bert.pooler.proj.bias' is not part of this model"):
        bert_to_hugging_face(OURS, state, kind="token", vocab_size=VOCAB)
    del state["head.out_proj.weight"]
    with pytest.raises(ModelError, match=r"tensor 'head.out_proj.weight' is missing"):
        bert_to_hugging_face(OURS, state, kind="sequence", vocab_size=VOCAB, labels=LABELS["sequence"])


def test_nothing_is_drawn_and_nothing_given_is_changed() -> None:
    config, tensors = foreign("pretraining")
    del tensors["cls.predictions.decoder.weight"]
    before, random = (dict(config), list(tensors)), torch.get_rng_state()
    _, state, _ = bert_from_hugging_face(config, tensors)
    assert (config, list(tensors)) == before
    assert torch.equal(torch.get_rng_state(), random)
    name = "bert.embedding.position.weight"
    assert state[name].data_ptr() == tensors["bert.embeddings.position_embeddings.weight"].data_ptr()
