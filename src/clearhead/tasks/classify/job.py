"""The training of a classifier: labelled lines, tokenizer, encoder, batches, loss, scores, model card."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from clearhead.checkpoint import LoadReport
from clearhead.config import Tree
from clearhead.data.batching import BatchPlan, largest_batch
from clearhead.data.labelled import Labels, read_labelled
from clearhead.data.labelled_batches import (
    LabelledBatch,
    LabelledBatches,
    LabelledReport,
    LabelledRows,
    training_batches,
)
from clearhead.errors import DataError
from clearhead.models.bert import BertClassifier
from clearhead.runs.tokenizers import load_tokenizer, save_tokenizer
from clearhead.tasks.classify.recipe import (
    ClassifyRecipe,
    Objective,
    build_classifier,
    class_weights,
    encode,
    load_labels,
    make_ready,
    monitored,
    parse_classify,
    predict,
    rate_of,
    save_labels,
    score,
    sizes_of,
    train_tokenizer,
)
from clearhead.tasks.classify.warm_start import open_encoder
from clearhead.tasks.warm_start import start_of
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.config import TrainConfig
from clearhead.training.device import pick_device
from clearhead.training.job import GradientJob, Progress, fresh_state, named, vocabulary_of
from clearhead.training.loop import Work


@dataclass(frozen=True)
class ClassifyJob(GradientJob):
    """See ``GradientJob``."""

    recipe: ClassifyRecipe
    tokenizer: Tokenizer
    labels: Labels
    train: LabelledRows
    valid: LabelledRows
    taken: LoadReport | None = None
    """What was taken over from the encoder that this one starts from."""

    @property
    def targets(self) -> str:
        """See ``Job``."""
        return "lines"

    @functools.cached_property
    def settings(self) -> TrainConfig:
        """See ``GradientJob``: the steps of ``finetune.epochs`` and what lies between evaluations, counted exactly."""
        settings, epochs = self.recipe.train, self.recipe.finetune.epochs
        if not epochs:
            return settings
        steps = sum(-(-len(self.dataset(epoch)) // settings.grad_accum_steps) for epoch in range(epochs))
        every = settings.evaluate_every or -(-steps // epochs)
        return replace(settings, max_steps=min(settings.max_steps, steps), evaluate_every=every)

    @property
    def objective(self) -> Objective:
        """What is minimized."""
        loss, weights = self.recipe.loss, None
        if loss.class_weights == "balanced":
            weights = class_weights(self.train).to(self.device)
        return Objective(self.labels, loss.label_smoothing, weights)

    def work(self) -> Work[LabelledBatch]:
        """See ``GradientJob``; evaluation scores the whole valid split."""
        recipe, objective = self.recipe, self.objective

        def evaluate(model: nn.Module) -> dict[str, float]:
            found = predict(model, self.valid, self.labels, batch_tokens=recipe.train.batch_tokens)
            return monitored(score(found, self.valid, self.labels), self.labels)

        return Work(
            self.batches,
            lambda batch: objective.loss_of(self.state.model, batch),
            evaluate,
            objective.weight_of,
            lambda model, step: make_ready(model, step, recipe),
            where=lambda batch: named("labelled lines", (batch.indices + 1).tolist()),
        )

    def reports(self) -> dict[str, LabelledReport]:
        """See ``Job``."""
        return {"train": self.train.report, "valid": self.valid.report}

    def vocabulary(self) -> str:
        """See ``Job``."""
        return vocabulary_of(self.tokenizer, self.taken)

    def save_text_parts(self, run: Path) -> None:
        """See ``Job``."""
        save_tokenizer(self.tokenizer, run)
        save_labels(self.labels, run)

    def build(self) -> BertClassifier:
        """See ``GradientJob``."""
        return build_classifier(self.recipe, self.tokenizer, self.labels)

    @property
    def width(self) -> int:
        """See ``GradientJob``; BPE-dropout cuts into more pieces, up to the longest that is allowed."""
        longest = int(self.train.rows.lengths.max())
        return self.recipe.model.max_seq_len if self.recipe.tokenizer.dropout else longest

    def first_epoch(self) -> tuple[BatchPlan, int]:
        """See ``GradientJob``."""
        plan = self.dataset(0).plan
        return plan, largest_batch(plan, self.train.rows.lengths)

    def card(self, run: Path) -> str:
        """See ``Job``."""
        given = "pairs of texts" if self.labels.pairs else "texts"
        what = f"of {len(self.labels.classes)} classes" if self.labels.classes else "that gives a number"
        text = '"..." --pair "..."' if self.labels.pairs else '"..."'
        return self.card_text(
            run,
            what=f"A classifier {what}, for {given}",
            sizes=sizes_of(self.recipe.model),
            vocabulary=f"{self.recipe.tokenizer.kind}, {self.tokenizer.vocab_size:,} pieces",
            commands=[f"classify {{}} {text}", "evaluate {} --data DIR --split valid"],
        )

    def dataset(self, epoch: int) -> LabelledBatches:
        """See ``GradientJob``."""
        settings, hidden = self.recipe.train, self.recipe.finetune.word_dropout
        how = {"batch_tokens": settings.batch_tokens, "seed": settings.seed, "epoch": epoch}
        return training_batches(self.train, **how, word_dropout=hidden)


def prepare_classify(
    tree: Tree, source: str, data: Path, *, run: Path | None = None, progress: Progress = lambda done, total: None
) -> ClassifyJob:
    """Reads the labelled lines, takes or trains a tokenizer, encodes, and builds model and optimizer.

    Args:
        tree: the recipe.
        source: what to call it in errors.
        data: a file, or a folder of them.
        run: has the tokenizer, if this run goes on; None trains it, or takes that of ``recipe.start``.
        progress: of no use here: a labelled set is encoded at once.

    Raises:
        UsageError: the recipe is wrong.
        DataError: the text cannot be used.
        ModelError: ``recipe.start`` is no encoder.
    """
    start = open_encoder(Path(start_of(tree))) if start_of(tree) and not run else None
    recipe = start.begun(tree, source) if start else parse_classify(tree, source)
    device = pick_device(recipe.train.device)
    train = read_labelled(data, split="train", config=recipe.data)
    labels = train.made_of
    valid = read_labelled(data, split="valid", config=recipe.data, train=labels)
    if run and load_labels(run) != labels:
        raise DataError(f"data {str(data)!r}: its labels are not those that run {str(run)!r} was trained on")
    known = start.tokenizer if start else load_tokenizer(run) if run else None
    tokenizer = known.with_dropout(recipe.tokenizer.dropout) if known else train_tokenizer(train, recipe.tokenizer)
    rows = tuple(encode(text, recipe, tokenizer) for text in (train, valid))
    torch.manual_seed(recipe.train.seed)
    model = build_classifier(recipe, tokenizer, labels)
    taken = start.load_into(model, labels) if start and not recipe.finetune.fresh else None
    state = fresh_state(model.to(device), recipe, rate_of(recipe))
    return ClassifyJob(recipe, state, device, tokenizer, labels, rows[0], rows[1], taken)
