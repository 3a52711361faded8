"""The classes that public signatures name, besides those of ``clearhead`` itself: to annotate with, and to ask for.

    >>> from clearhead.types import Stepped
    >>> [event.loss for event in events if isinstance(event, Stepped)]

Names are loaded when first used, so that importing the module loads no torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearhead.checkpoint import Checkpoint
    from clearhead.data.corpora.filters import FilterConfig
    from clearhead.data.corpora.mixture import Corpus, ParallelCorpus
    from clearhead.data.corpus import DataConfig
    from clearhead.data.documents import DocumentsConfig
    from clearhead.data.labels.labelled import LabelledConfig
    from clearhead.data.labels.labelled_batches import LabelledReport
    from clearhead.data.labels.labels import Labels
    from clearhead.data.pairs import MaskedConfig
    from clearhead.data.stream import TokenStream
    from clearhead.decode.rows import TextRows
    from clearhead.decode.trace import Meter, TraceStep
    from clearhead.decode.tree import BeamTree, Node
    from clearhead.drawing.heatmap import AttentionPicture
    from clearhead.drawing.report import Part, View
    from clearhead.evaluate.classification import ClassificationScores, ClassScores, RegressionScores
    from clearhead.inspect.attend.beside import PartsView
    from clearhead.inspect.attend.inputs import EmbeddingView
    from clearhead.inspect.attend.numbers import Pick, QueryView
    from clearhead.inspect.attend.slopes import SoftmaxView
    from clearhead.inspect.curves import ActivationsView, ScheduleView
    from clearhead.inspect.dispatch import OpsView
    from clearhead.inspect.flow import GradientsView, Stepper
    from clearhead.inspect.graph import AutogradView
    from clearhead.inspect.heads import AttentionView, Prediction, Texts
    from clearhead.inspect.ledger import MemoryView
    from clearhead.inspect.modules import ModelView
    from clearhead.inspect.norms import NormView
    from clearhead.inspect.ranks import RankView
    from clearhead.inspect.saved import CheckpointView
    from clearhead.inspect.slots import OptimizerView
    from clearhead.inspect.step.accumulation import AccumulateView
    from clearhead.inspect.step.order import HooksView
    from clearhead.inspect.strides import LayoutView
    from clearhead.lessons.page import LessonPage
    from clearhead.loss import LossConfig
    from clearhead.models.bert import BertClassifier, BertConfig, BertPretraining, PretrainingLogits
    from clearhead.models.embedding import EmbeddingConfig
    from clearhead.models.gpt import GPT, GPTConfig
    from clearhead.models.ngram import Ngram, NgramConfig
    from clearhead.models.rnn import RNNConfig, RNNLanguageModel, RNNState, RNNTranslator
    from clearhead.models.transformer import Transformer, TransformerConfig
    from clearhead.nn.cache import KVCache
    from clearhead.nn.layer import BlockConfig
    from clearhead.nn.lora import LoraConfig
    from clearhead.nn.position import RotaryScalingConfig
    from clearhead.optim.build import OptimConfig
    from clearhead.runs.opened import SavedRun
    from clearhead.runs.text_parts import Tokenizers
    from clearhead.tasks.classify.recipe import ClassifyLossConfig, ClassifyRecipe, FinetuneConfig
    from clearhead.tasks.language_model.ngram import NgramRecipe
    from clearhead.tasks.language_model.recipe import LanguageModelRecipe
    from clearhead.tasks.language_model.writer import TextModel
    from clearhead.tasks.masked.recipe import MaskedRecipe
    from clearhead.tasks.own import OwnConfig, OwnModelConfig
    from clearhead.tasks.translation.corpora.sides import Sides
    from clearhead.tasks.translation.length_limit import LengthLimit
    from clearhead.tasks.translation.recipe import TranslationRecipe
    from clearhead.tasks.translation.search.shortlist import Shortlist
    from clearhead.tasks.translation.trust.confidence import Calibration
    from clearhead.text.adopted import Adopted, Built
    from clearhead.text.language import Language
    from clearhead.text.special import SpecialIds
    from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
    from clearhead.training.config import TrainConfig, ValidationConfig
    from clearhead.training.events import (
        Begun,
        Counted,
        Diverging,
        Evaluated,
        Finished,
        Noted,
        NotSaved,
        Sampled,
        SampledLine,
        Saved,
        Sized,
        Skipped,
        Stepped,
    )
    from clearhead.verbs.pipelines import Classify, Continue, Fill

__all__ = [
    "GPT",
    "AccumulateView",
    "ActivationsView",
    "Adopted",
    "AttentionPicture",
    "AttentionView",
    "AutogradView",
    "BeamTree",
    "Begun",
    "BertClassifier",
    "BertConfig",
    "BertPretraining",
    "BlockConfig",
    "Built",
    "Calibration",
    "Checkpoint",
    "CheckpointView",
    "ClassScores",
    "ClassificationScores",
    "Classify",
    "ClassifyLossConfig",
    "ClassifyRecipe",
    "Continue",
    "Corpus",
    "Counted",
    "DataConfig",
    "Diverging",
    "DocumentsConfig",
    "EmbeddingConfig",
    "EmbeddingView",
    "Evaluated",
    "Fill",
    "FilterConfig",
    "FinetuneConfig",
    "Finished",
    "GPTConfig",
    "GradientsView",
    "HooksView",
    "KVCache",
    "LabelledConfig",
    "LabelledReport",
    "Labels",
    "Language",
    "LanguageModelRecipe",
    "LayoutView",
    "LengthLimit",
    "LessonPage",
    "LoraConfig",
    "LossConfig",
    "MaskedConfig",
    "MaskedRecipe",
    "MemoryView",
    "Meter",
    "ModelView",
    "Ngram",
    "NgramConfig",
    "NgramRecipe",
    "Node",
    "NormView",
    "NotSaved",
    "Noted",
    "OpsView",
    "OptimConfig",
    "OptimizerView",
    "OwnConfig",
    "OwnModelConfig",
    "ParallelCorpus",
    "Part",
    "PartsView",
    "Pick",
    "Prediction",
    "PretrainingLogits",
    "QueryView",
    "RNNConfig",
    "RNNLanguageModel",
    "RNNState",
    "RNNTranslator",
    "RankView",
    "RegressionScores",
    "RotaryScalingConfig",
    "Sampled",
    "SampledLine",
    "Saved",
    "SavedRun",
    "ScheduleView",
    "Shortlist",
    "Sides",
    "Sized",
    "Skipped",
    "SoftmaxView",
    "SpecialIds",
    "Stepped",
    "Stepper",
    "TextModel",
    "TextRows",
    "Texts",
    "TokenStream",
    "Tokenizer",
    "TokenizerConfig",
    "Tokenizers",
    "TraceStep",
    "TrainConfig",
    "Transformer",
    "TransformerConfig",
    "TranslationRecipe",
    "ValidationConfig",
    "View",
]

_NAMES = {
    "clearhead.checkpoint": "Checkpoint",
    "clearhead.data.corpora.filters": "FilterConfig",
    "clearhead.data.corpora.mixture": "Corpus ParallelCorpus",
    "clearhead.data.corpus": "DataConfig",
    "clearhead.data.documents": "DocumentsConfig",
    "clearhead.data.labels.labelled": "LabelledConfig",
    "clearhead.data.labels.labels": "Labels",
    "clearhead.data.labels.labelled_batches": "LabelledReport",
    "clearhead.data.pairs": "MaskedConfig",
    "clearhead.data.stream": "TokenStream",
    "clearhead.decode.rows": "TextRows",
    "clearhead.decode.trace": "Meter TraceStep",
    "clearhead.decode.tree": "BeamTree Node",
    "clearhead.drawing.heatmap": "AttentionPicture",
    "clearhead.drawing.report": "Part View",
    "clearhead.evaluate.classification": "ClassificationScores ClassScores RegressionScores",
    "clearhead.inspect.attend.beside": "PartsView",
    "clearhead.inspect.attend.inputs": "EmbeddingView",
    "clearhead.inspect.attend.numbers": "Pick QueryView",
    "clearhead.inspect.attend.slopes": "SoftmaxView",
    "clearhead.inspect.curves": "ActivationsView ScheduleView",
    "clearhead.inspect.dispatch": "OpsView",
    "clearhead.inspect.flow": "GradientsView Stepper",
    "clearhead.inspect.graph": "AutogradView",
    "clearhead.inspect.heads": "AttentionView Prediction Texts",
    "clearhead.inspect.ledger": "MemoryView",
    "clearhead.inspect.modules": "ModelView",
    "clearhead.inspect.norms": "NormView",
    "clearhead.inspect.ranks": "RankView",
    "clearhead.inspect.saved": "CheckpointView",
    "clearhead.inspect.slots": "OptimizerView",
    "clearhead.inspect.step.accumulation": "AccumulateView",
    "clearhead.inspect.step.order": "HooksView",
    "clearhead.inspect.strides": "LayoutView",
    "clearhead.lessons.page": "LessonPage",
    "clearhead.loss": "LossConfig",
    "clearhead.models.bert": "BertClassifier BertConfig BertPretraining PretrainingLogits",
    "clearhead.models.gpt": "GPT GPTConfig",
    "clearhead.models.ngram": "Ngram NgramConfig",
    "clearhead.models.embedding": "EmbeddingConfig",
    "clearhead.models.rnn": "RNNConfig RNNLanguageModel RNNState RNNTranslator",
    "clearhead.models.transformer": "Transformer TransformerConfig",
    "clearhead.nn.cache": "KVCache",
    "clearhead.nn.layer": "BlockConfig",
    "clearhead.nn.lora": "LoraConfig",
    "clearhead.nn.position": "RotaryScalingConfig",
    "clearhead.optim.build": "OptimConfig",
    "clearhead.runs.opened": "SavedRun",
    "clearhead.runs.text_parts": "Tokenizers",
    "clearhead.tasks.classify.recipe": "ClassifyLossConfig ClassifyRecipe FinetuneConfig",
    "clearhead.tasks.language_model.ngram": "NgramRecipe",
    "clearhead.tasks.language_model.recipe": "LanguageModelRecipe",
    "clearhead.tasks.language_model.writer": "TextModel",
    "clearhead.tasks.masked.recipe": "MaskedRecipe",
    "clearhead.tasks.own": "OwnConfig OwnModelConfig",
    "clearhead.tasks.translation.corpora.sides": "Sides",
    "clearhead.tasks.translation.length_limit": "LengthLimit",
    "clearhead.tasks.translation.recipe": "TranslationRecipe",
    "clearhead.tasks.translation.search.shortlist": "Shortlist",
    "clearhead.tasks.translation.trust.confidence": "Calibration",
    "clearhead.text.adopted": "Adopted Built",
    "clearhead.text.language": "Language",
    "clearhead.text.special": "SpecialIds",
    "clearhead.text.tokenizer": "Tokenizer TokenizerConfig",
    "clearhead.training.config": "TrainConfig ValidationConfig",
    "clearhead.training.events": (
        "Begun Counted Diverging Evaluated Finished NotSaved Noted Sampled SampledLine Saved Sized Skipped Stepped"
    ),
    "clearhead.verbs.pipelines": "Classify Continue Fill",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
"""The module that defines each."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'clearhead.types' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
