"""BERT of Hugging Face: converts ``config.json`` and tensors to our encoder-only models and back."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from clearhead.config import Tree, parse
from clearhead.errors import ModelError, UsageError
from clearhead.interop.spelling import (
    ACTIVATIONS,
    THEIR_ACTIVATIONS,
    Spelling,
    Tensors,
    check,
    demand,
    tie,
    whole_number,
)
from clearhead.models.bert import BertConfig, BertKind, build_bert

TABLE = "embeddings.word_embeddings.weight"
_OUTPUT = "cls.predictions.decoder.weight"  # tied to the table
_STEM = "bert."  # prefix of the encoder's names in a model with heads, in our models and in theirs
_HEADS = ("cls.predictions.", "cls.seq_relationship.", "classifier.")
# two names of the output layer's bias; files have either or both
_OUTPUT_BIAS, _SAME_BIAS = "cls.predictions.decoder.bias", "cls.predictions.bias"
_CONSTANTS = ("embeddings.position_ids", "embeddings.token_type_ids")  # counters, which old files hold
_OLD_NORM_NAMES = {".gamma": ".weight", ".beta": ".bias"}  # in files converted from TensorFlow
CLASSES = {
    "encoder": "BertModel",
    "pooled": "BertModel",
    "pretraining": "BertForPreTraining",
    "masked": "BertForMaskedLM",
    "sequence": "BertForSequenceClassification",
    "regression": "BertForSequenceClassification",
    "token": "BertForTokenClassification",
}
_PROBLEM_TYPES = {"sequence": "single_label_classification", "regression": "regression"}
_CLASSIFIERS = ("sequence", "regression", "token")
BERT = Spelling(
    "bert",
    architecture="BertModel",
    stem=_STEM,
    modules={
        "embedding.tokens": "embeddings.word_embeddings",
        "embedding.position": "embeddings.position_embeddings",
        "embedding.segments": "embeddings.token_type_embeddings",
        "embedding.norm": "embeddings.LayerNorm",
        "layers": "encoder.layer",
        "attn.q_proj": "attention.self.query",
        "attn.k_proj": "attention.self.key",
        "attn.v_proj": "attention.self.value",
        "attn.o_proj": "attention.output.dense",
        "attn_post_norm": "attention.output.LayerNorm",
        "mlp.up_proj": "intermediate.dense",
        "mlp.down_proj": "output.dense",
        "mlp_post_norm": "output.LayerNorm",
        "pooler.proj": "pooler.dense",
        "mlm_head.proj": "cls.predictions.transform.dense",
        "mlm_head.norm": "cls.predictions.transform.LayerNorm",
        "mlm_head.out_proj": "cls.predictions.decoder",
        "nsp_head.out_proj": "cls.seq_relationship",
        "head.out_proj": "classifier",
    },
    fields={
        "d_model": "hidden_size",
        "d_ff": "intermediate_size",
        "n_heads": "num_attention_heads",
        "n_layers": "num_hidden_layers",
        "max_seq_len": "max_position_embeddings",
        "n_segments": "type_vocab_size",
        "dropout": "hidden_dropout_prob",
        "head_dropout": "classifier_dropout",
        "block.attn_dropout": "attention_probs_dropout_prob",
        "block.norm_eps": "layer_norm_eps",
        "block.activation": "hidden_act",
    },
    defaults={"type_vocab_size": 2, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
    | {"classifier_dropout": None, "layer_norm_eps": 1e-12, "hidden_act": "gelu"},
    ours={
        "position": ("learned",),
        "block.norm": ("layer",),
        "block.norm_position": ("post",),
        "block.attention": ("scaled_dot_product",),
        "block.bias": (True,),
        "block.residual": (True,),
        "block.mlp": (True,),
        "block.activation": tuple(THEIR_ACTIVATIONS),
    },
    theirs={
        "hidden_act": tuple(ACTIVATIONS),
        "position_embedding_type": ("absolute",),
        "is_decoder": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
)


class BertReport(NamedTuple):
    """What is known of a converted BERT besides config and tensors; tensors have the names of the original files."""

    kind: BertKind  # the kind of our model that the tensors are for
    vocab_size: int  # pieces of its vocabulary
    labels: tuple[str, ...]  # names of the classifier's classes; empty for other models
    loaded: tuple[str, ...]  # tensors that became part of our model
    left: tuple[str, ...]  # tensors that were ignored: counters, and heads that our model does not have
    missing: tuple[str, ...]  # tensors of heads of our model that the files lack; these heads need training


def bert_from_hugging_face(
    config: Tree, tensors: Mapping[str, Tensor], *, kind: BertKind | None = None, n_labels: int | None = None
) -> tuple[BertConfig, Tensors, BertReport]:
    """Converts a BERT to one of our encoder-only models.

    Args:
        config: its ``config.json``; missing keys have Hugging Face's defaults.
        tensors: its ``state_dict``, or the tensors of its files.
        kind: the kind of our model; it may have other heads than the files, so that a pretrained model can be
            fine-tuned, and the report names the heads that the files lack. None: the kind that the files hold, which
            must be complete.
        n_labels: classes of a classifier; one that was trained for another number is left out. None: as many as the
            config says.

    Returns:
        Our config, the ``state_dict`` of ``build_bert(report.kind, config, vocab_size=report.vocab_size,
        n_labels=len(report.labels))`` without the missing tensors, and a report. Tensors share memory with the given
        ones.

    Raises:
        ModelError: our model cannot express the config, or a tensor is missing, unknown or of another shape.
    """
    demand({"model_type": None, **config}, {"model_type": ("bert",)}, "config.json: ")
    ours, vocab_size = _our_config(config), whole_number(config, "vocab_size")
    file_names = {_modern_name(name): name for name in tensors}
    theirs = {name: tensors[old] for name, old in file_names.items() if not name.endswith(_CONSTANTS)}
    stem = _STEM if any(name.startswith(_STEM) for name in theirs) else ""
    file_kind = _kind_of(config, theirs, stem)
    if _OUTPUT in theirs:
        theirs.setdefault(stem + TABLE, theirs[_OUTPUT])
    our_kind = kind or file_kind
    labels, trained = _labels(config, file_kind, our_kind, n_labels)
    blank = _blank(our_kind, ours, vocab_size, len(labels))
    their_names = _their_names(blank, stem)
    used, missing = _used_and_missing(theirs, their_names.values(), stem, trained=trained)
    if kind is None and n_labels is None:
        missing = set()
    theirs = {name: theirs[name] for name in used}
    if _OUTPUT in their_names.values():
        tie(theirs, head=_OUTPUT, table=stem + TABLE)
    if _SAME_BIAS in theirs:
        tie(theirs, head=_OUTPUT_BIAS, table=_SAME_BIAS)
        del theirs[_SAME_BIAS]
    present = {own: name for own, name in their_names.items() if name not in missing}
    check(theirs, {name: blank[own] for own, name in present.items()})
    report = BertReport(
        our_kind,
        vocab_size,
        labels,
        loaded=tuple(old for name, old in file_names.items() if name in used),
        left=tuple(old for name, old in file_names.items() if name not in used),
        missing=tuple(name for name in their_names.values() if name in missing),
    )
    return ours, {own: theirs[name] for own, name in present.items()}, report


def bert_to_hugging_face(
    config: BertConfig,
    tensors: Mapping[str, Tensor],
    *,
    kind: BertKind,
    vocab_size: int,
    pad_id: int | None = None,
    labels: Sequence[str] = (),
) -> tuple[Tree, Tensors]:
    """Converts one of our encoder-only models to a BERT.

    Args:
        config: our config. Dropout rates that theirs lacks are left out; they do not change a trained model.
        tensors: our ``state_dict``; the tied output layer may be missing, as in a checkpoint.
        kind: the kind of our model.
        vocab_size: pieces of the vocabulary.
        pad_id: padding, or None.
        labels: names of a classifier's classes; by default LABEL_0, LABEL_1 and so on.

    Returns:
        A ``config.json``, and a ``state_dict`` in which tied tensors have all the names that Hugging Face gives them.

    Raises:
        ModelError: no BERT can express our config, or a tensor is missing, unknown or of another shape.
    """
    check_bert(config)
    tree = BERT.write(config)
    state, output = dict(tensors), tensors.get("head.out_proj.weight")
    if kind in ("pretraining", "masked"):
        tie(state, head="mlm_head.out_proj.weight", table="bert.embedding.tokens.weight")
    n_labels = len(labels) if output is None else len(output)
    blank = _blank(kind, config, vocab_size, n_labels)
    check(state, blank)
    their_names = _their_names(blank, "" if kind in ("encoder", "pooled") else _STEM)
    theirs = {name: state[own] for own, name in their_names.items()}
    if _OUTPUT_BIAS in theirs:  # a file has a tied tensor under its first name only; for Hugging Face that is this one
        theirs = {_SAME_BIAS: theirs[_OUTPUT_BIAS], **theirs}
    sizes = {"vocab_size": vocab_size, "pad_token_id": pad_id}
    activation = {"hidden_act": THEIR_ACTIVATIONS[config.block.activation]}
    return tree | _head_config(kind, labels, n_labels) | sizes | activation, theirs


def check_bert(config: BertConfig) -> None:
    """Raises ModelError, with the key, if no BERT computes what our encoder of ``config`` does."""
    BERT.check(config)
    heads = {"n_kv_heads": config.n_kv_heads or config.n_heads}
    demand(heads, {"n_kv_heads": (config.n_heads,)}, "Hugging Face's bert: model.")


def _our_config(config: Tree) -> BertConfig:
    values: dict[str, Any] = {**BERT.defaults, **config}
    demand(values, BERT.theirs, "config.json: ")
    values["hidden_act"] = ACTIVATIONS[values["hidden_act"]]
    try:
        return parse(BertConfig, BERT.read(values), source="config.json")
    except UsageError as error:
        raise ModelError(str(error)) from error


def _modern_name(name: str) -> str:
    """Returns a tensor's name as newer files spell it."""
    for old, new in _OLD_NORM_NAMES.items():
        name = name.removesuffix(old) + new if name.endswith(f"LayerNorm{old}") else name
    return name


def bert_kind(config: Tree, tensors: Mapping[str, Tensor]) -> BertKind:
    """Says which of our models a BERT is, by its class or, where it names none, by its heads; a ModelError if none."""
    names = {_modern_name(name): tensor for name, tensor in tensors.items()}
    return _kind_of(config, names, _STEM if any(name.startswith(_STEM) for name in names) else "")


def _kind_of(config: Tree, names: Mapping[str, Tensor], stem: str) -> BertKind:
    """Returns which kind of our models theirs is: by its class or, if the config names none, by its heads.

    Raises:
        ModelError: it is a BERT of another kind.
    """

    def has(head: str) -> bool:
        return any(name.startswith(head) for name in names)

    pooled = has(stem + "pooler.")
    by_heads = "pooled"
    if has("cls.predictions."):
        by_heads = "pretraining" if has("cls.seq_relationship.") else "masked"
    elif has("classifier."):
        by_heads = "sequence" if pooled else "token"
    class_name = (config.get("architectures") or [CLASSES[by_heads]])[0]
    demand({"architectures": class_name}, {"architectures": tuple(dict.fromkeys(CLASSES.values()))}, "config.json: ")
    kind = next(kind for kind, name in CLASSES.items() if name == class_name)
    if kind == "encoder" and pooled:
        kind = "pooled"
    if kind == "sequence":
        problem = config.get("problem_type")
        demand({"problem_type": problem}, {"problem_type": (None, *_PROBLEM_TYPES.values())}, "config.json: ")
        count = len(_config_labels(config))
        if problem == _PROBLEM_TYPES["regression"] or (problem is None and count == 1):
            demand({"num_labels": count}, {"num_labels": (1,)}, "config.json: ")
            kind = "regression"
    return cast(BertKind, kind)


def _config_labels(config: Tree) -> tuple[str, ...]:
    names = config.get("id2label")
    if not names:
        return _default_labels(whole_number(config, "num_labels", 2))
    if not isinstance(names, Mapping) or not all(str(key).isdecimal() for key in names):
        raise ModelError(f"config.json: id2label = {names!r}: must be a table of numbers and names")
    if len(set(map(str, names.values()))) < len(names):
        raise ModelError(f"config.json: id2label = {names!r}: must have a different name for each number")
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _default_labels(count: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{number}" for number in range(count))


def _labels(
    config: Tree, file_kind: BertKind, our_kind: BertKind, n_labels: int | None
) -> tuple[tuple[str, ...], bool]:
    """Returns the labels of our model, and whether the classifier in the files was trained for them."""
    labels = _config_labels(config)
    if our_kind not in _CLASSIFIERS:
        return (), False
    if file_kind == our_kind and n_labels in (None, len(labels)):
        return labels, True
    return _default_labels(n_labels or (1 if our_kind == "regression" else len(labels))), False


def _head_config(kind: BertKind, labels: Sequence[str], n_labels: int) -> Tree:
    """Returns the keys of their config for the model's class and a classifier's labels."""
    tree: Tree = {"architectures": [CLASSES[kind]]}
    if kind in _CLASSIFIERS:
        if labels and len(labels) != n_labels:
            raise ModelError(f"labels: {len(labels)} names, the model has {n_labels} classes")
        names = labels or _default_labels(n_labels)
        tree["id2label"] = {str(number): name for number, name in enumerate(names)}
        tree["label2id"] = {name: number for number, name in enumerate(names)}
    if kind in _PROBLEM_TYPES:
        tree["problem_type"] = _PROBLEM_TYPES[kind]
    return tree


def _used_and_missing(
    theirs: Mapping[str, Tensor], needed: Collection[str], stem: str, *, trained: bool
) -> tuple[set[str], set[str]]:
    """Returns the names of ``theirs`` that our model uses, and those of ``needed`` whose head is not in ``theirs``.

    Heads that our model does not have are not used, nor is a classifier that was not ``trained`` for its labels.
    """
    used, missing = set(theirs), set()
    for head in (f"{stem}pooler.", *_HEADS):
        in_files = {name for name in theirs if name.startswith(head)}
        in_model = {name for name in needed if name.startswith(head)}
        if not (in_files and in_model) or (head == "classifier." and not trained):
            used -= in_files
            missing |= in_model - {_OUTPUT}
    return used, missing


def _blank(kind: BertKind, config: BertConfig, vocab_size: int, n_labels: int) -> Tensors:
    """Returns our ``state_dict`` on the meta device: names and shapes without values."""
    with torch.device("meta"):
        return build_bert(kind, config, vocab_size=vocab_size, n_labels=n_labels or 1).state_dict()


def _their_names(ours: Mapping[str, Tensor], stem: str) -> dict[str, str]:
    """Returns our tensor name -> theirs; ``stem`` is the prefix of their encoder's names."""
    names = {}
    for own, tensor in ours.items():
        (name,) = BERT.respell({own.removeprefix(_STEM): tensor})
        names[own] = name if name.startswith(_HEADS) else stem + name
    return names
