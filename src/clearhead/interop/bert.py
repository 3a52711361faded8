"""BERT of Hugging Face: its ``config.json`` and tensors to our encoder-only models and back."""

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

TABLE, TIED = "embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
STEM = "bert."  # what an encoder's names begin with in a model with heads, in ours as in theirs
HEADS = ("cls.predictions.", "cls.seq_relationship.", "classifier.")
BIAS, SAME_BIAS = (
    "cls.predictions.decoder.bias",
    "cls.predictions.bias",
)  # one thing, of which files have either or both
CONSTANTS = ("embeddings.position_ids", "embeddings.token_type_ids")  # counters, which old files hold
OLD = {".gamma": ".weight", ".beta": ".bias"}  # of norms, in files that come from TensorFlow
CLASSES = {
    "encoder": "BertModel",
    "pooled": "BertModel",
    "pretraining": "BertForPreTraining",
    "masked": "BertForMaskedLM",
    "sequence": "BertForSequenceClassification",
    "regression": "BertForSequenceClassification",
    "token": "BertForTokenClassification",
}
PROBLEMS = {"sequence": "single_label_classification", "regression": "regression"}
CLASSIFIERS = ("sequence", "regression", "token")
BERT = Spelling(
    "bert",
    architecture="BertModel",
    stem=STEM,
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


class Report(NamedTuple):
    """What came out of a foreign model besides config and tensors; tensors' names are in its own spelling."""

    kind: BertKind  # which of our models the tensors are for
    vocab_size: int  # pieces of its vocabulary
    labels: tuple[str, ...]  # of its classifier; none for other models
    loaded: tuple[str, ...]  # tensors that ours are made of
    left: tuple[str, ...]  # tensors that stay behind: counters, and heads that were not asked for
    missing: tuple[str, ...]  # tensors of heads that were asked for and are not there: they are to be trained


def bert_from_hugging_face(
    config: Tree, tensors: Mapping[str, Tensor], *, kind: BertKind | None = None, n_labels: int | None = None
) -> tuple[BertConfig, Tensors, Report]:
    """Translates a BERT.

    Args:
        config: its ``config.json``; what that leaves out has Hugging Face's default.
        tensors: its ``state_dict``, or what its files hold.
        kind: which of our models it is to become, so that one that was pretrained can be fine-tuned; heads that it
            lacks are reported. None: what it is, and all of it has to be there.
        n_labels: classes of a classifier; a trained one of another number stays behind. None: as many as it says.

    Returns:
        Our config, the ``state_dict`` of ``build_bert(report.kind, config, vocab_size=report.vocab_size,
        n_labels=len(report.labels))`` without what is missing, and a report. Tensors share the memory of the given
        ones.

    Raises:
        ModelError: the config says what our model is not, or a tensor is missing, unknown or of another shape.
    """
    demand({"model_type": None, **config}, {"model_type": ("bert",)}, "config.json: ")
    ours, vocab_size = _our_config(config), whole_number(config, "vocab_size")
    names = {_today(name): name for name in tensors}  # as newer files spell it -> as it is spelled here
    given = {name: tensors[old] for name, old in names.items() if not name.endswith(CONSTANTS)}
    stem = STEM if any(name.startswith(STEM) for name in given) else ""
    was = _kind_of(config, given, stem)
    made = kind or was
    labels, trained = _labels(config, was, made, n_labels)
    blank = _blank(made, ours, vocab_size, len(labels))
    wanted = _spelled(blank, stem)
    used, missing = _apart(given, wanted.values(), stem, trained=trained)
    if kind is None and n_labels is None:
        missing = set()
    given = {name: given[name] for name in used}
    if TIED in wanted.values():
        tie(given, head=TIED, table=stem + TABLE)
    if SAME_BIAS in given:
        tie(given, head=BIAS, table=SAME_BIAS)
        del given[SAME_BIAS]
    found = {own: name for own, name in wanted.items() if name not in missing}
    check(given, {name: blank[own] for own, name in found.items()})
    report = Report(
        made,
        vocab_size,
        labels,
        loaded=tuple(old for name, old in names.items() if name in used),
        left=tuple(old for name, old in names.items() if name not in used),
        missing=tuple(name for name in wanted.values() if name in missing),
    )
    return ours, {own: given[name] for own, name in found.items()}, report


def bert_to_hugging_face(
    config: BertConfig,
    tensors: Mapping[str, Tensor],
    *,
    kind: BertKind,
    vocab_size: int,
    pad_id: int | None = None,
    labels: Sequence[str] = (),
) -> tuple[Tree, Tensors]:
    """Translates one of our encoder-only models to the BERT that is the same.

    Args:
        config: our config. Rates of dropout that theirs lacks are left out: they change no trained model.
        tensors: our ``state_dict``; the tied output layer may be missing, as in a checkpoint.
        kind: which of our models it is.
        vocab_size: pieces of the vocabulary.
        pad_id: padding.
        labels: names of a classifier's classes; none are LABEL_0, LABEL_1 and so on.

    Returns:
        A ``config.json``, and a ``state_dict`` with all names that Hugging Face has for a tied tensor.

    Raises:
        ModelError: no BERT is such a model, or a tensor is missing, unknown or of another shape.
    """
    tree = BERT.write(config)
    heads = {"n_kv_heads": config.n_kv_heads or config.n_heads}
    demand(heads, {"n_kv_heads": (config.n_heads,)}, "Hugging Face's bert: model.")
    state, out = dict(tensors), tensors.get("head.out_proj.weight")
    if kind in ("pretraining", "masked"):
        tie(state, head="mlm_head.out_proj.weight", table="bert.embedding.tokens.weight")
    n_labels = len(labels) if out is None else len(out)
    blank = _blank(kind, config, vocab_size, n_labels)
    check(state, blank)
    theirs = {name: state[own] for own, name in _spelled(blank, "" if kind in ("encoder", "pooled") else STEM).items()}
    if BIAS in theirs:  # of two names the first is the one that a file has
        theirs = {SAME_BIAS: theirs[BIAS], **theirs}
    said = {"vocab_size": vocab_size, "pad_token_id": pad_id}
    activation = {"hidden_act": THEIR_ACTIVATIONS[config.block.activation]}
    return tree | _head_config(kind, labels, n_labels) | said | activation, theirs


def _our_config(config: Tree) -> BertConfig:
    said: dict[str, Any] = {**BERT.defaults, **config}
    demand(said, BERT.theirs, "config.json: ")
    said["hidden_act"] = ACTIVATIONS[said["hidden_act"]]
    try:
        return parse(BertConfig, BERT.read(said), source="config.json")
    except UsageError as error:
        raise ModelError(str(error)) from error


def _today(name: str) -> str:
    """Returns a tensor's name as newer files spell it."""
    for old, new in OLD.items():
        name = name.removesuffix(old) + new if name.endswith(f"LayerNorm{old}") else name
    return name


def bert_kind(config: Tree, tensors: Mapping[str, Tensor]) -> BertKind:
    """Says which of our models a BERT is, by its class or, where it names none, by its heads; a ModelError if none."""
    names = {_today(name): tensor for name, tensor in tensors.items()}
    return _kind_of(config, names, STEM if any(name.startswith(STEM) for name in names) else "")


def _kind_of(config: Tree, names: Mapping[str, Tensor], stem: str) -> BertKind:
    """Returns which of our models theirs is: by its class or, where it names none, by its heads.

    Raises:
        ModelError: it is none of ours.
    """

    def has(head: str) -> bool:
        return any(name.startswith(head) for name in names)

    pooled = has(stem + "pooler.")
    by_heads = "pooled"
    if has("cls.predictions."):
        by_heads = "pretraining" if has("cls.seq_relationship.") else "masked"
    elif has("classifier."):
        by_heads = "sequence" if pooled else "token"
    said = (config.get("architectures") or [CLASSES[by_heads]])[0]
    demand({"architectures": said}, {"architectures": tuple(dict.fromkeys(CLASSES.values()))}, "config.json: ")
    kind = next(kind for kind, name in CLASSES.items() if name == said)
    if kind == "encoder" and pooled:
        kind = "pooled"
    if kind == "sequence":
        problem = config.get("problem_type")
        demand({"problem_type": problem}, {"problem_type": (None, *PROBLEMS.values())}, "config.json: ")
        count = len(_said_labels(config))
        if problem == PROBLEMS["regression"] or (problem is None and count == 1):
            demand({"num_labels": count}, {"num_labels": (1,)}, "config.json: ")
            kind = "regression"
    return cast(BertKind, kind)


def _said_labels(config: Tree) -> tuple[str, ...]:
    names = config.get("id2label")
    if not names:
        return _numbered(whole_number(config, "num_labels", 2))
    if not isinstance(names, Mapping) or not all(str(key).isdecimal() for key in names):
        raise ModelError(f"config.json: id2label = {names!r}: must be a table of numbers and names")
    if len(set(map(str, names.values()))) < len(names):
        raise ModelError(f"config.json: id2label = {names!r}: must have another name for each number")
    return tuple(str(names[key]) for key in sorted(names, key=int))


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"LABEL_{number}" for number in range(count))


def _labels(config: Tree, was: BertKind, made: BertKind, n_labels: int | None) -> tuple[tuple[str, ...], bool]:
    """Returns the labels of what is made, and whether the classifier that is there was trained for them."""
    said = _said_labels(config)
    if made not in CLASSIFIERS:
        return (), False
    if was == made and n_labels in (None, len(said)):
        return said, True
    return _numbered(n_labels or (1 if made == "regression" else len(said))), False


def _head_config(kind: BertKind, labels: Sequence[str], n_labels: int) -> Tree:
    """What their config says of the class and of a classifier's labels."""
    tree: Tree = {"architectures": [CLASSES[kind]]}
    if kind in CLASSIFIERS:
        if labels and len(labels) != n_labels:
            raise ModelError(f"labels: {len(labels)} names, the model has {n_labels} classes")
        names = labels or _numbered(n_labels)
        tree["id2label"] = {str(number): name for number, name in enumerate(names)}
        tree["label2id"] = {name: number for number, name in enumerate(names)}
    return tree | ({"problem_type": PROBLEMS[kind]} if kind in PROBLEMS else {})


def _apart(
    given: Mapping[str, Tensor], wanted: Collection[str], stem: str, *, trained: bool
) -> tuple[set[str], set[str]]:
    """Returns the names of ``given`` that are used, and those of ``wanted`` whose head is not there.

    A head stays behind where it is not wanted, as does a classifier that was not ``trained`` for these labels.
    """
    used, missing = set(given), set()
    for head in (f"{stem}pooler.", *HEADS):
        here = {name for name in given if name.startswith(head)}
        there = {name for name in wanted if name.startswith(head)}
        if not (here and there) or (head == "classifier." and not trained):
            used -= here
            missing |= there - {TIED}
    return used, missing


def _blank(kind: BertKind, config: BertConfig, vocab_size: int, n_labels: int) -> Tensors:
    """Returns our ``state_dict`` without numbers: names and shapes."""
    with torch.device("meta"):
        return build_bert(kind, config, vocab_size=vocab_size, n_labels=n_labels or 1).state_dict()


def _spelled(ours: Mapping[str, Tensor], stem: str) -> dict[str, str]:
    """Returns for each name of ours theirs, with ``stem`` before those of the encoder."""
    found = {}
    for own, tensor in ours.items():
        (name,) = BERT.respell({own.removeprefix(STEM): tensor})
        found[own] = name if name.startswith(HEADS) else stem + name
    return found
