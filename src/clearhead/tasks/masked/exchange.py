"""Reads and writes masked language models in Hugging Face's layout of BERT."""

from pathlib import Path

from clearhead.config import Tree
from clearhead.data.pairs import MaskedConfig
from clearhead.errors import ModelError
from clearhead.interop.bert import bert_from_hugging_face, bert_to_hugging_face, check_bert
from clearhead.interop.folder import read_tensors
from clearhead.interop.published import read_settings
from clearhead.interop.sentence import read_sentence, write_sentence
from clearhead.interop.spelling import demand
from clearhead.interop.tokenizer import check_template, read_tokenizer, write_tokenizer
from clearhead.models.bert import BertKind
from clearhead.models.embedding import EmbeddingConfig
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.family import HuggingFaceFiles
from clearhead.tasks.imported import Imported, described
from clearhead.tasks.masked.model import MaskedModel
from clearhead.tasks.masked.recipe import MaskedRecipe, masked_sizes

# the kinds that can be exported: for others Hugging Face's tokenizers treat the space at a mask differently, and with
# unigram a text cannot contain the mask
KINDS = {"kind": ("byte_bpe", "wordpiece", "char", "adopted")}


def read_bert(folder: Path, config: Tree) -> Imported:
    """Reads a BERT with the heads of pretraining; see ``LearnedFamily.read_folder``.

    A bare encoder gets a new masked-language head, and with a pooler also a new next-sentence head.
    """
    theirs = read_tensors(folder)
    model, tensors, report = bert_from_hugging_face(config, theirs)
    heads: dict[BertKind, BertKind] = {"encoder": "masked", "pooled": "pretraining"}
    if report.kind in heads:
        model, tensors, report = bert_from_hugging_face(config, theirs, kind=heads[report.kind])
    if report.kind not in ("masked", "pretraining"):
        raise ModelError(f"{str(folder)!r} is a BERT for {report.kind} labels: it has no heads of pretraining")
    tensors.pop("mlm_head.out_proj.weight", None)  # the table of embeddings, written once as in a checkpoint
    parts = TextParts(read_tokenizer(folder, config, report.vocab_size))
    check_template(parts.tokenizer, "segments", str(folder))
    pairs = MaskedConfig(next_sentence=report.kind == "pretraining")
    said = read_sentence(folder, model.d_model, model.max_seq_len, read_settings(folder))
    keys = described(folder, parts.tokenizer, model.max_seq_len)
    recipe = MaskedRecipe(model=model, masked=pairs, embedding=said or EmbeddingConfig(), **keys)
    return Imported(recipe, masked_sizes(model), parts, tensors, report.loaded, report.left, report.missing)


def check_masked(recipe: MaskedRecipe) -> None:
    """Raises ModelError, with the key, if no class of Hugging Face's is a masked language model of ``recipe``."""
    demand({"kind": recipe.tokenizer.kind}, KINDS, "Hugging Face's tokenizers, with masks: tokenizer.")
    check_bert(recipe.model)


def write_bert(trained: MaskedModel) -> HuggingFaceFiles:
    """Returns a BERT with its heads as Hugging Face's classes load it; see ``Family.to_hugging_face``."""
    check_masked(trained.recipe)
    tokenizer, sizes = trained.tokenizer, TextParts(trained.tokenizer).sizes
    config, tensors = bert_to_hugging_face(
        trained.model.config,
        trained.model.state_dict(),
        kind="pretraining" if trained.recipe.masked.next_sentence else "masked",
        vocab_size=sizes.vocab_size,
        pad_id=sizes.pad_id,
    )
    files = write_tokenizer(tokenizer, template="segments", masks=True)
    model = trained.recipe.model
    vectors = write_sentence(trained.recipe.embedding, d_model=model.d_model, max_seq_len=model.max_seq_len)
    return config, tensors, {**files, **vectors}
