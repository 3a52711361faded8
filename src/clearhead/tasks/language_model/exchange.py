"""Language models from and to folders in Hugging Face's layout: GPT-2's shape and Llama's."""

from pathlib import Path

from clearhead.config import Tree
from clearhead.errors import ModelError
from clearhead.interop.folder import read_tensors
from clearhead.interop.generation import generation_config, generation_file, not_taken
from clearhead.interop.gpt import check_gpt, gpt_from_hugging_face, gpt_to_hugging_face
from clearhead.interop.tokenizer import check_template, read_tokenizer, write_tokenizer
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.family import HuggingFaceFiles
from clearhead.tasks.imported import Imported, described
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.recipe import GPTRecipe, LanguageModelRecipe, language_model_sizes


def read_gpt(folder: Path, config: Tree) -> Imported:
    """Reads a decoder-only model; see ``LearnedFamily.read_folder``."""
    model, tensors, report = gpt_from_hugging_face(config, read_tensors(folder))
    if model.tie:  # a table of two places is written once, as in a checkpoint
        del tensors["lm_head.weight"]
    parts = TextParts(read_tokenizer(folder, config, report.vocab_size))
    check_template(parts.tokenizer, "begin", str(folder))
    recipe = GPTRecipe(model=model, **described(folder, parts.tokenizer, model.max_seq_len))
    return Imported(
        recipe, language_model_sizes(model), parts, tensors, report.loaded, report.left, untaken=not_taken(folder)
    )


def check_language_model(recipe: LanguageModelRecipe) -> None:
    """Raises ModelError, with the key, if no class of Hugging Face's is a language model of ``recipe``."""
    if not isinstance(recipe.model, GPTConfig):
        raise ModelError(f"task = {recipe.task!r}: Hugging Face has no class for it")
    check_gpt(recipe.model)


def write_gpt(trained: LanguageModel) -> HuggingFaceFiles:
    """Returns a GPT as Hugging Face's classes load it; see ``Family.to_hugging_face``."""
    check_language_model(trained.recipe)
    assert isinstance(trained.model, GPT)
    tokenizer, sizes = trained.tokenizer, TextParts(trained.tokenizer).sizes
    config, tensors = gpt_to_hugging_face(
        trained.model.config,
        trained.model.state_dict(),
        vocab_size=sizes.vocab_size,
        eos_id=[tokenizer.ids.eos, *tokenizer.ends] if tokenizer.ends else tokenizer.ids.eos,
        bos_id=tokenizer.begin,
        pad_id=sizes.pad_id,
    )
    ids, begin, longest = tokenizer.ids, tokenizer.begin, trained.model.config.max_seq_len
    generation = generation_config(ids, bos_id=begin, ends=tokenizer.ends, max_length=longest)
    files = write_tokenizer(tokenizer, template="begin" if trained.marks else "plain")
    return config, tensors, {**files, **generation_file(generation)}
