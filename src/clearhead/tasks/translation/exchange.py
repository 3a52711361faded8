"""Translators from and to folders in Hugging Face's layout: Marian's shape, and Blenderbot's if pre-norm."""

import json
from dataclasses import replace
from pathlib import Path

from clearhead.config import Tree
from clearhead.data.corpus import DataConfig
from clearhead.errors import ModelError, UsageError
from clearhead.files import read_json
from clearhead.interop.blenderbot import blenderbot_to_hugging_face, check_blenderbot
from clearhead.interop.folder import read_tensors
from clearhead.interop.generation import generation_config, generation_file, not_taken, with_generation
from clearhead.interop.marian import (
    FILES,
    MARKS,
    OUR_TABLES,
    check_marian,
    marian_from_hugging_face,
    marian_to_hugging_face,
    read_marian_tokenizers,
    whole_id,
    write_marian_tokenizers,
)
from clearhead.interop.published import FILE, SETTINGS
from clearhead.interop.tokenizer import read_tokenizer, write_tokenizer
from clearhead.models.transformer import Transformer, TransformerConfig
from clearhead.runs.text_parts import TextParts
from clearhead.tasks.family import HuggingFaceFiles
from clearhead.tasks.imported import Imported, described
from clearhead.tasks.translation.recipe import TransformerRecipe, TranslationRecipe, translator_sizes
from clearhead.tasks.translation.translator import Translator
from clearhead.text.adopted import Adopted
from clearhead.text.tokenizer import Tokenizer


def read_marian(folder: Path, config: Tree, *, src: str, tgt: str) -> Imported:
    """Reads a Marian translator; see ``LearnedFamily.read_folder``."""
    model, tensors, report = marian_from_hugging_face(config, read_tensors(folder))
    config = with_generation(folder, config)
    for name in OUR_TABLES[1:]:  # a table of three places is written once, as in a checkpoint
        del tensors[name]
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
    src, tgt = (said or str(settings.get(f"{side}_lang") or "") for said, side in ((src, "source"), (tgt, "target")))
    if not src or not tgt:
        raise UsageError(f"{str(folder)!r} does not say its languages: add --src and --tgt")
    spm = str(settings.get("tokenizer_class") or "MarianTokenizer").startswith("MarianTokenizer")
    if (folder / FILE).is_file() and not (spm and all((folder / name).is_file() for name in FILES)):
        adopted = read_tokenizer(folder, config, report.vocab_size)
        assert isinstance(adopted.source, Adopted)
        ids = replace(adopted.ids, **{role: whole_id(config, key) for role, key in MARKS.items()})
        joint = Tokenizer.adopt(replace(adopted.source, ids=ids))
        parts = TextParts(joint, joint)
    else:
        parts = TextParts(*read_marian_tokenizers(folder, config, report.vocab_size))
    data = DataConfig(max_len=min(DataConfig.max_len, model.max_seq_len - 1))
    keys = described(folder, parts.tokenizer, model.max_seq_len)
    recipe = TransformerRecipe(src=src, tgt=tgt, model=model, data=data, **keys)
    facts = (recipe, translator_sizes(model), parts, tensors, report.loaded, report.left)
    return Imported(*facts, untaken=not_taken(folder))


def check_translator(recipe: TranslationRecipe) -> None:
    """Raises ModelError, with the key, if no class of Hugging Face's is a translator of ``recipe``."""
    shape = recipe.model
    if not isinstance(shape, TransformerConfig):
        raise ModelError(f"task = {recipe.task!r}: Hugging Face has no class for it")
    if shape.block.norm_position == "pre":
        check_blenderbot(shape)
    else:
        check_marian(shape)


def write_marian(translator: Translator) -> HuggingFaceFiles:
    """Returns a translator as Hugging Face's classes load it; see ``Family.to_hugging_face``."""
    src, tgt, recipe = translator.tokenizers.src, translator.tokenizers.tgt, translator.recipe
    check_translator(recipe)
    assert isinstance(translator.model, Transformer)
    shape = translator.model.config
    convert = blenderbot_to_hugging_face if shape.block.norm_position == "pre" else marian_to_hugging_face
    config, tensors = convert(shape, translator.model.state_dict(), vocab_size=tgt.vocab_size, ids=tgt.ids)
    longest = translator.model.config.max_seq_len
    generation = generation_config(tgt.ids, bos_id=tgt.ids.bos, max_length=longest, start_id=tgt.ids.bos)
    if src is not tgt:
        spm = write_marian_tokenizers(src, tgt, languages=(recipe.src, recipe.tgt))
        return config, tensors, {**spm, **generation_file(generation)}
    files = write_tokenizer(tgt, template="end") | generation_file(generation)
    languages = {"source_lang": recipe.src, "target_lang": recipe.tgt}
    settings = json.dumps(json.loads(files[SETTINGS]) | languages, ensure_ascii=False, indent=2)
    return config, tensors, {**files, SETTINGS: settings + "\n"}
