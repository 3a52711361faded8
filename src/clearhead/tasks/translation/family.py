"""Translators as a family: Transformers, and the recurrent models that they replaced."""

from pathlib import Path

import torch
from torch import Tensor

from clearhead.config import Tree
from clearhead.data.corpora.joined import EncodedPairs
from clearhead.data.translation import Batch, collate
from clearhead.progress import Progress
from clearhead.runs.opened import SavedRun
from clearhead.runs.text_parts import ModelSizes, TextParts, load_both_sides
from clearhead.tasks.evidence import Evidence
from clearhead.tasks.family import ComparedScores, Evaluation, EvaluationOptions, HuggingFaceFiles, LearnedFamily
from clearhead.tasks.imported import Imported
from clearhead.tasks.sample import Sample
from clearhead.tasks.translation.corpora.reading import ValidPairs, read_pairs
from clearhead.tasks.translation.documents.preceding import last_line, parted, read_before
from clearhead.tasks.translation.exchange import check_translator, read_marian, write_marian
from clearhead.tasks.translation.job import TranslationJob
from clearhead.tasks.translation.recipe import (
    WORDS,
    Net,
    TranslationRecipe,
    build_translator,
    parse_translation,
    translation_loss,
    translator_sizes,
)
from clearhead.tasks.translation.scoring import (
    evaluate_directions,
    translation_evidence,
)
from clearhead.tasks.translation.translator import Translator
from clearhead.tasks.translation.trust.comparing import compare_translator
from clearhead.training.device import Device


class TranslationFamily(LearnedFamily[TranslationRecipe, Translator, Net, Batch]):
    """See ``Family``."""

    words = WORDS
    warm = True
    noun = "translator"
    tag = "translation"
    further = "evaluate {} --data DIR --split test"
    compare_note = "BLEU by length: thirds of the split by characters of the source"
    batch = Batch
    job = TranslationJob

    def parse(self, tree: Tree, source: str) -> TranslationRecipe:
        """See ``Family``."""
        return parse_translation(tree, source)

    def sketch(self, tree: Tree, source: str) -> TranslationRecipe:
        """See ``LearnedFamily``; the languages may be left out."""
        return parse_translation({"src": "src", "tgt": "tgt", **tree}, source)

    def goal(self, recipe: TranslationRecipe) -> str:
        """See ``Family``."""
        return f"translation from {recipe.languages}"

    def measured_by(self, recipe: TranslationRecipe, options: EvaluationOptions) -> str:
        """See ``Family``."""
        used = dict.fromkeys(recipe.bleu_of(tgt) for _, tgt in recipe.directions)
        return f"BLEU's tokenizer {options.tokenize or ', '.join(used)}"

    def sizes(self, recipe: TranslationRecipe) -> str:
        """See ``Family``."""
        return translator_sizes(recipe.model)

    def parts(self, run: Path) -> TextParts:
        """See ``LearnedFamily``."""
        return load_both_sides(run)

    def read(
        self, data: Path, recipe: TranslationRecipe, known: TextParts | None, progress: Progress
    ) -> tuple[TextParts, EncodedPairs, ValidPairs]:
        """See ``LearnedFamily``."""
        return read_pairs(data, recipe, known, progress)

    def build(self, recipe: TranslationRecipe, sizes: ModelSizes) -> Net:
        """See ``LearnedFamily``."""
        return build_translator(recipe, sizes)

    def load(self, run: SavedRun, *, device: Device = "auto") -> Translator:
        """See ``Family``."""
        return Translator.from_run(run, device=device)

    def loss(self, model: Net, batch: Batch, recipe: TranslationRecipe, sizes: ModelSizes) -> tuple[Tensor, int]:
        """See ``LearnedFamily``."""
        return translation_loss(model, batch, recipe.loss)

    def width(self, recipe: TranslationRecipe) -> int:
        """See ``LearnedFamily``: the begin or end mark counts too, and the pieces before a source."""
        return recipe.data.max_len + 1 + recipe.leads

    def blank(self, recipe: TranslationRecipe, rows: int, width: int) -> Batch:
        """See ``LearnedFamily``."""
        ids = torch.zeros(rows, width, dtype=torch.long)
        return Batch(ids, None, ids, ids, ids.numel(), torch.zeros(rows, dtype=torch.long))

    def batch_of(self, trained: Translator, sample: Sample) -> Batch:
        """See ``LearnedFamily``; the target of a text is what the model makes of it, in its first direction."""
        trained = trained.leading
        room, both, lead = trained.recipe.model.max_seq_len - 1, trained.tokenizers, trained.sides.lead
        if sample.text is None:
            sources = [[*lead, *row] for row in sample.rows(both.src, room - len(lead))]
            return collate(sources, sample.rows(both.tgt, room, draw=1), special=both.tgt.ids)
        context, text = parted(sample.text, trained.sides)
        (row,) = Sample(text).rows(both.src, room - len(lead))
        before = read_before(last_line(context), len(row), trained.sides, both.src) if context else []
        translation = trained.translate([text], beam=1, split="never", context=context)[0]
        targets = translation.target_ids[: -1 if translation.complete else room]  # the begin mark takes a place too
        return collate([[*lead, *before, *row]], [targets], special=both.tgt.ids)

    def inputs(self, batch: Batch) -> dict[str, Tensor]:
        """See ``LearnedFamily``."""
        inputs = {"src_ids": batch.src_ids, "tgt_ids": batch.tgt_ids}
        return inputs if batch.src_mask is None else {**inputs, "src_mask": batch.src_mask}

    def evaluate(self, trained: Translator, data: Path, split: str, options: EvaluationOptions) -> Evaluation:
        """See ``Family``."""
        return evaluate_directions(
            trained,
            data,
            split,
            beam=options.beam,
            length_penalty=options.length_penalty,
            tokenize=options.tokenize,
            to=options.to,
            source=options.source,
        )

    def compared(self, trained: Translator, data: Path, split: str, options: EvaluationOptions) -> ComparedScores:
        """See ``Family``."""
        return compare_translator(trained, data, split, beam=options.beam, tokenize=options.tokenize)

    def check_hugging_face(self, recipe: TranslationRecipe) -> None:
        """See ``Family``."""
        check_translator(recipe)

    def to_hugging_face(self, trained: Translator) -> HuggingFaceFiles:
        """See ``Family``."""
        return write_marian(trained)

    def evidence(self, trained: Translator, data: Path | None, count: int, *, split: str = "valid") -> Evidence:
        """See ``LearnedFamily``."""
        return translation_evidence(trained, data, count, split=split)

    def read_folder(self, folder: Path, config: Tree, *, src: str = "", tgt: str = "") -> Imported:
        """See ``LearnedFamily``."""
        return read_marian(folder, config, src=src, tgt=tgt)


TRANSLATION = TranslationFamily()
