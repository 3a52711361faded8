"""The files beside ONNX graphs: ``config.json``, settings of what writes texts, and tokenizers.

``config.json`` names the class of transformers whose inputs and outputs the graph has. It is a costume. Optimum and
transformers.js read from it which loop and which cache they need; what is computed is in the graph alone, so a model
that no class of transformers has may wear it too.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from clearhead.config import Tree
from clearhead.data.labels.labels import Labels
from clearhead.export.runtime import Exportable
from clearhead.interop.folder import CONFIG
from clearhead.interop.generation import generation_config, generation_file
from clearhead.interop.tokenizer import write_tokenizers
from clearhead.models.bert import Bert, BertClassifier, BertPretraining, ClassifierKind
from clearhead.models.gpt import GPT
from clearhead.models.transformer import Transformer
from clearhead.runs.text_parts import TextParts
from clearhead.text.special import ABSENT
from clearhead.text.tokenizer import Tokenizer

_CLASSES: dict[ClassifierKind, str] = {
    "sequence": "BertForSequenceClassification",
    "regression": "BertForSequenceClassification",
    "token": "BertForTokenClassification",
}


def files_beside(model: Exportable, parts: TextParts, marks: Callable[[], bool]) -> Mapping[str, str]:
    """Returns what stands beside the graphs, by name.

    No class of theirs holds two vocabularies, so loaders of theirs find no tokenizer there rather than a wrong one.

    Args:
        model: what is in the graphs.
        parts: its tokenizers and labels.
        marks: says of a language model whether a begin mark stands before a text, where its tokenizer does not.
    """
    source, target = parts.tokenizer, parts.target or parts.tokenizer
    ids, files = target.ids, {CONFIG: json.dumps(costume(model, target, parts.labels), ensure_ascii=False, indent=2)}
    match model:
        case Transformer():
            limit = model.config.max_seq_len
            files |= generation_file(generation_config(ids, bos_id=ids.bos, max_length=limit, start_id=ids.bos))
            return files | write_tokenizers(source, target, template="end")
        case GPT():
            limit, begin = model.config.max_seq_len, target.begin
            files |= generation_file(generation_config(ids, bos_id=begin, ends=target.ends, max_length=limit))
            return files | write_tokenizers(target, target, template="begin" if target.begins or marks() else "plain")
        case BertPretraining():
            return files | write_tokenizers(target, target, template="segments", masks=True)
        case Bert() | BertClassifier():
            return files | write_tokenizers(target, target, template="segments")


def costume(model: Exportable, tokenizer: Tokenizer, labels: Labels | None) -> Tree:
    """Returns ``config.json``.

    Args:
        model: what is in the graph.
        tokenizer: of what it reads; of a translator, of what it writes.
        labels: of a classifier.
    """
    ids = tokenizer.ids
    special: Tree = {} if ids.pad == ABSENT else {"pad_token_id": ids.pad}
    match model:
        case Transformer():
            return {**_marian(model), **special, "bos_token_id": ids.bos, "eos_token_id": ids.eos} | {
                "decoder_start_token_id": ids.bos
            }
        case GPT():
            return {**_llama(model), **special, "bos_token_id": tokenizer.begin, "eos_token_id": ids.eos}
        case Bert() | BertPretraining():
            name = "BertModel" if isinstance(model, Bert) else "BertForMaskedLM"
            return {"architectures": [name], **_bert(model), **special}
        case BertClassifier():
            return {"architectures": [_CLASSES[model.kind]], **_bert(model), **special, **_labels(model, labels)}


def _marian(model: Transformer) -> Tree:
    config = model.config
    sides: Tree = {}
    for side, layers in (("encoder", config.n_encoder_layers), ("decoder", config.n_decoder_layers)):
        sides |= {f"{side}_layers": layers, f"{side}_attention_heads": config.n_heads, f"{side}_ffn_dim": config.d_ff}
    return {
        "model_type": "marian",
        "architectures": ["MarianMTModel"],
        "d_model": config.d_model,
        **sides,
        "num_hidden_layers": config.n_encoder_layers,
        "max_position_embeddings": config.max_seq_len,
        "vocab_size": model.encoder.embedding.tokens.num_embeddings,
        "decoder_vocab_size": model.vocab_size,
        "share_encoder_decoder_embeddings": config.tie == "all",
        "is_encoder_decoder": True,
        "use_cache": True,
        "forced_eos_token_id": None,
    }


def _llama(model: GPT) -> Tree:
    config = model.config
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads or config.n_heads,
        "head_dim": config.d_model // config.n_heads,
        "max_position_embeddings": config.max_seq_len,
        "vocab_size": model.vocab_size,
        "tie_word_embeddings": config.tie,
        "use_cache": True,
    }


def _bert(model: Bert | BertPretraining | BertClassifier) -> Tree:
    config = model.config
    return {
        "model_type": "bert",
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "max_position_embeddings": config.max_seq_len,
        "type_vocab_size": config.n_segments,
        "vocab_size": model.vocab_size,
    }


def _labels(model: BertClassifier, labels: Labels | None) -> dict[str, Any]:
    """Names the classes; a number has one name, which is not shown."""
    numbered = [f"LABEL_{number}" for number in range(model.n_labels)]
    names = list(labels.classes) if labels is not None and labels.classes else numbered
    kinds = {"regression": "regression", "sequence": "single_label_classification"}
    kind: Tree = {"problem_type": kinds[model.kind]} if model.kind in kinds else {}
    by_number = {str(number): name for number, name in enumerate(names)}
    return {**kind, "id2label": by_number, "label2id": {name: number for number, name in enumerate(names)}}
