"""Models read from folders in Hugging Face's layout, each with the recipe of the task that it is for."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from clearhead.config import Tree
from clearhead.data.corpus import DataConfig
from clearhead.data.labelled import LabelledConfig, Labels
from clearhead.errors import ModelError, UsageError
from clearhead.interop.bert import BertReport, bert_from_hugging_face
from clearhead.interop.folder import read_config, read_json, read_tensors
from clearhead.interop.gpt import gpt_from_hugging_face
from clearhead.interop.marian import MARKS, OUR_TABLES, marian_from_hugging_face, read_marian_tokenizers, whole_id
from clearhead.interop.spelling import Tensors, demand
from clearhead.interop.tokenizer import FILE, SETTINGS, read_tokenizer
from clearhead.models.bert import BertConfig, BertKind
from clearhead.runs.tokenizers import Tokenizers, save_tokenizer
from clearhead.tasks.classify import recipe as classify
from clearhead.tasks.classify.recipe import ClassifyRecipe, build_classifier, save_labels
from clearhead.tasks.language_model import recipe as language_model
from clearhead.tasks.language_model.recipe import GPTRecipe, build_net
from clearhead.tasks.masked import recipe as masked
from clearhead.tasks.masked.recipe import MaskedRecipe, MaskedTask, build_masked
from clearhead.tasks.translation import recipe as translation
from clearhead.tasks.translation.recipe import TransformerRecipe, build_model
from clearhead.text.adopted import Adopted
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.config import TrainConfig


@dataclass(frozen=True)
class Imported:
    """A model that was read from a folder."""

    recipe: GPTRecipe | MaskedRecipe | ClassifyRecipe | TransformerRecipe
    """Sizes and tokenizer; all else is at its default, for the folder does not say how it was trained."""
    tokenizer: Tokenizer = field(repr=False)
    tensors: Tensors = field(repr=False)
    """In our names and shapes."""
    loaded: tuple[str, ...]
    """Tensors that ours are made of, as the folder spells them."""
    left: tuple[str, ...]
    """Those that stay behind: they hold nothing learned."""
    new: tuple[str, ...] = ()
    """Tensors of heads that the folder lacks: they are freshly drawn, and to be trained."""
    labels: Labels | None = None
    """What the output layer of a classifier stands for."""
    target: Tokenizer | None = field(default=None, repr=False)
    """A translator's tokenizer of its target; ``tokenizer`` is that of its source."""

    def lines(self) -> list[str]:
        """What was read, for a terminal."""
        counts = [f"{len(self.loaded)} tensors loaded"]
        counts += (
            [f"{len(self.left)} left, which hold nothing learned: {', '.join(self.left[:4])}"] if self.left else []
        )
        counts += [f"{len(self.new)} new, which are to be trained: {', '.join(self.new)}"] if self.new else []
        found = [f"model: {self._sizes()}, {self.tokenizer.vocab_size:,} pieces", "; ".join(counts)]
        if self.labels is None:
            return found
        classes = self.labels.classes
        shown = f"{len(classes)} classes: {', '.join(classes[:8])}" if classes else "a number"
        return [*found, f"labels: {shown}{' and more' if len(classes) > 8 else ''}"]

    def build(self) -> nn.Module:
        """Builds the model with fresh weights."""
        match self.recipe:
            case MaskedRecipe():
                return build_masked(self.recipe, self.tokenizer)
            case ClassifyRecipe():
                assert self.labels is not None
                return build_classifier(self.recipe, self.tokenizer, self.labels)
            case TransformerRecipe():
                return build_model(self.recipe, self._both)
            case _:
                return build_net(self.recipe, self.tokenizer)

    def save_text_parts(self, run: Path) -> None:
        """Writes what turns text into numbers, and numbers into labels, to a run directory."""
        if self.target is not None:
            self._both.save(run)
            return
        save_tokenizer(self.tokenizer, run)
        if self.labels is not None:
            save_labels(self.labels, run)

    @property
    def _both(self) -> Tokenizers:
        assert self.target is not None
        return Tokenizers(self.tokenizer, self.target)

    def _sizes(self) -> str:
        match self.recipe:
            case TransformerRecipe():
                return translation.sizes_of(self.recipe.model)
            case MaskedRecipe():
                return masked.sizes_of(self.recipe.model)
            case ClassifyRecipe():
                return classify.sizes_of(self.recipe.model)
            case _:
                return language_model.sizes_of(self.recipe.model)


def read_model(folder: Path, *, src: str = "", tgt: str = "") -> Imported:
    """Reads a model with its tokenizer: GPT-2, Llama-shaped, a BERT, whatever it was trained for, or a Marian.

    Args:
        folder: in Hugging Face's layout.
        src: language that a translator reads; empty is what the folder says.
        tgt: language that it writes.

    Raises:
        ModelError: the folder is not there or incomplete, or the model has what ours cannot represent; the message
            names the first such thing.
        UsageError: the languages of a translator are not known, or those of another model are said.
    """
    config = read_config(folder)
    if config.get("model_type") == "marian":
        return _read_marian(folder, config, src, tgt)
    if src or tgt:
        raise UsageError(f"--src and --tgt: {str(folder)!r} has no translator")
    demand({"model_type": None, **config}, {"model_type": (*READERS, "marian")}, "config.json: ")
    return READERS[config["model_type"]](folder, config)


def labels_of(report: BertReport, config: BertConfig) -> Labels:
    """Returns what the output layer of a foreign classifier stands for; its folder leaves open whether it had pairs."""
    classes = () if report.kind == "regression" else report.labels
    return Labels(classes, pairs=None if config.n_segments > 1 else False)


def _read_gpt(folder: Path, config: Tree) -> Imported:
    model, tensors, report = gpt_from_hugging_face(config, read_tensors(folder))
    if model.tie:  # a table of two places is written once, as in a checkpoint
        del tensors["lm_head.weight"]
    tokenizer = read_tokenizer(folder, config, report.vocab_size)
    recipe = GPTRecipe(model=model, **_described(folder, tokenizer, model.max_seq_len))
    return Imported(recipe, tokenizer, tensors, report.loaded, report.left)


def _read_bert(folder: Path, config: Tree) -> Imported:
    """Reads a BERT; a bare encoder gets the heads of pretraining, of which its pooler decides whether it is both."""
    given = read_tensors(folder)
    model, tensors, report = bert_from_hugging_face(config, given)
    made: dict[BertKind, BertKind] = {"encoder": "masked", "pooled": "pretraining"}
    if report.kind in made:
        model, tensors, report = bert_from_hugging_face(config, given, kind=made[report.kind])
    if report.kind == "token":
        raise ModelError(f"{str(folder)!r} is a BertForTokenClassification: no run of ours has a label for each piece")
    tensors.pop("mlm_head.out_proj.weight", None)  # the table of embeddings, written once as in a checkpoint
    tokenizer = read_tokenizer(folder, config, report.vocab_size)
    words = _described(folder, tokenizer, model.max_seq_len)
    if report.kind in ("sequence", "regression"):
        labels = labels_of(report, model)
        data = LabelledConfig(kind="classes" if labels.classes else "number")
        judge = ClassifyRecipe(model=model, data=data, **words)
        return Imported(judge, tokenizer, tensors, report.loaded, report.left, labels=labels)
    pairs = MaskedTask(next_sentence=report.kind == "pretraining")
    recipe = MaskedRecipe(model=model, masked=pairs, **words)
    return Imported(recipe, tokenizer, tensors, report.loaded, report.left, report.missing)


def _read_marian(folder: Path, config: Tree, src: str, tgt: str) -> Imported:
    model, tensors, report = marian_from_hugging_face(config, read_tensors(folder))
    for name in OUR_TABLES[1:]:  # a table of three places is written once, as in a checkpoint
        del tensors[name]
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    src, tgt = (given or str(settings.get(f"{side}_lang") or "") for given, side in ((src, "source"), (tgt, "target")))
    if not src or not tgt:
        raise UsageError(f"{str(folder)!r} does not say its languages: add --src and --tgt")
    if (folder / FILE).is_file():
        found = read_tokenizer(folder, config, report.vocab_size)
        assert isinstance(found.source, Adopted)
        ids = replace(found.ids, **{role: whole_id(config, key) for role, key in MARKS.items()})
        joint = Tokenizer.adopt(replace(found.source, ids=ids))
        both = (joint, joint)
    else:
        both = read_marian_tokenizers(folder, config, report.vocab_size)
    words = _described(folder, both[0], model.max_seq_len)
    data = DataConfig(max_len=min(DataConfig.max_len, model.max_seq_len - 1))
    recipe = TransformerRecipe(src=src, tgt=tgt, model=model, data=data, **words)
    return Imported(recipe, both[0], tensors, report.loaded, report.left, target=both[1])


def _described(folder: Path, tokenizer: Tokenizer, length: int) -> dict[str, Any]:
    """Returns the keys of a recipe that the folder decides whatever the model."""
    train = TrainConfig(batch_tokens=max(TrainConfig.batch_tokens, length))
    return {"name": folder.resolve().name, "tokenizer": tokenizer.config, "train": train}


READERS = {"bert": _read_bert, "gpt2": _read_gpt, "llama": _read_gpt}  # by their model_type
