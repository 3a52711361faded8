"""What the card of an exported folder says, from the run and from what was compared."""

from typing import Any

from clearhead.data.corpora.context import CONTEXT
from clearhead.export.card import ArtefactFacts, Score, artefact_card
from clearhead.text.special import mark_of
from clearhead.verbs.exports.certify import Compared
from clearhead.verbs.exports.formats import Source, Target

_HEADLESS = {"ctranslate2": ("fill-mask", "text-classification"), "gguf": ("fill-mask", "text-classification")}
"""Where an encoder is written without what stands on it."""
_COSTUME = (
    "Its class, BlenderbotForConditionalGeneration, was made for conversations; it is here since it computes what this "
    "pre-norm translator does."
)
_CUT = (
    "Without max_input_length=0 CTranslate2 cuts a source at 1,024 pieces; an empty translation needs a minimum of 0."
)
_CONTEXT = (
    f"It was trained to read a line behind the one before it: the pieces of that one, the piece {mark_of(CONTEXT)}, "
    "the line's own; a first line has nothing before it."
)
_GRAPHS = "The class in config.json says which inputs and outputs the graphs have; what they compute is in them alone."
_JAVASCRIPT = (
    "transformers.js takes the folder too: one text at a time, with a max_new_tokens within that length. It reads the "
    "name of a special piece in a text as that piece."
)


def card_of(source: Source, target: Target, stored: str, compared: Compared | None) -> str:
    """Returns the ``README.md`` of a folder; scores are there where lines of text were compared."""
    recipe: Any = source.trained.recipe
    model, parts, crossed = source.model, source.parts, source.parts.target is not None
    tag: Any = source.family.tag
    if tag in _HEADLESS.get(target, ()):
        tag = "feature-extraction"
    begin = parts.tokenizer.piece(parts.tokenizer.begin) if getattr(source.trained, "marks", False) else ""
    apart = crossed and parts.target is not parts.tokenizer
    names = ("source_tokenizer.json", "target_tokenizer.json") if apart else ("tokenizer.json", "tokenizer.json")
    notes = [f"A text has at most {model.config.max_seq_len} pieces and marks."]
    if crossed and recipe.data.context:
        notes.append(_CONTEXT)
    if crossed and target == "ctranslate2":
        notes.append(_CUT)
    if crossed and target == "hf" and model.config.block.norm_position == "pre":
        notes.append(_COSTUME)
    if target == "onnx":
        notes += [_GRAPHS, _JAVASCRIPT]
    return artefact_card(
        ArtefactFacts(
            name=recipe.name,
            target=target,
            tag=tag,
            what=f"A {source.family.noun}: {source.family.sizes(recipe)}, {parts.tokenizer.size()}",
            stored=stored,
            languages=(recipe.src, recipe.tgt) if crossed else (),
            length=model.config.max_seq_len,
            begin=begin,
            tokenizers=names,
            splits=parts.tokenizer.splits,
            notes=notes,
            score=_score(compared),
        )
    )


def _score(compared: Compared | None) -> Score | None:
    if compared is None or compared.quality is None or compared.evidence.metric is None:
        return None
    metric = compared.evidence.metric
    return Score(metric.name, compared.quality.after, metric.signature)
