"""How a language model in training continues the beginnings of a few texts of the valid split, greedily."""

from dataclasses import dataclass

import torch
from rich.cells import cell_len

from clearhead.data.stream import TokenStream
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.language_model.recipe import LanguageModelRecipe, Net
from clearhead.text.tokenizer import Tokenizer
from clearhead.training.events import SampledLine
from clearhead.training.samples.choose import most_pieces, random_order, sampled_line

WINDOW = 160
"""Pieces of the stream from which a beginning and how it goes on are taken."""
COLUMNS = 32
"""Columns of a beginning, and of how it goes on, at least; East Asian characters take two."""
LEAST = 12
"""Columns of a text, of which a short one gives the first half."""
TRIES = 50
"""Places of the stream that are tried for each text that is wanted."""


@dataclass(frozen=True)
class Beginning:
    """The beginning of a text, and how it goes on in the valid split."""

    text: str
    after: str


def beginnings(stream: TokenStream, tokenizer: Tokenizer, count: int, seed: int) -> list[Beginning]:
    """Returns ``count`` beginnings, at places of the stream that are drawn from ``seed``; fewer of a very short one."""
    rng = random_order(seed)
    places = rng.integers(max(len(stream) - WINDOW, len(stream) // 2, 1), size=TRIES * count).tolist()
    found: list[Beginning] = []
    for place in places:
        beginning = _beginning(stream.ids[place : place + WINDOW].tolist(), tokenizer)
        if beginning and beginning not in found:
            found.append(beginning)
        if len(found) == count:
            break
    return found


def language_samples(
    recipe: LanguageModelRecipe,
    tokenizer: Tokenizer,
    model: Net,
    given: list[Beginning],
    *,
    device: torch.device,
    marks: bool,
) -> list[SampledLine]:
    """Continues each beginning by as many pieces, at most, as what follows it in the valid split has, and some more.

    Args:
        recipe: of the run.
        tokenizer: of the run.
        model: the model in training.
        given: what is continued.
        device: of the model.
        marks: whether it has seen where documents begin, see ``LanguageModel``.
    """
    if not given:
        return []
    limit = most_pieces(map(len, tokenizer.encode_batch([each.after for each in given])))
    writer = LanguageModel(recipe, tokenizer, model, device, marks=marks)
    prompts, greedy = [each.text for each in given], SamplingConfig(temperature=0.0)
    texts = writer.generate(prompts, GenerationConfig(max_new=limit), sampling=greedy)
    return [sampled_line(each.text, each.after, text.text) for each, text in zip(given, texts, strict=True)]


def _beginning(ids: list[int], tokenizer: Tokenizer) -> Beginning | None:
    """Returns the beginning of a text that is within ``ids``, pieces from anywhere; None if there is too little.

    Of a short text, such as a line of a poem, it is the first half.
    """
    ends = [at for at, piece in enumerate(ids) if piece in (tokenizer.ids.eos, *tokenizer.ends)]
    if ends and ends[0] < len(ids) // 2:  # a document begins here
        last = ends[1] if len(ends) > 1 else len(ids)
        text = tokenizer.decode(ids[ends[0] + 1 : last])
    else:
        text = tokenizer.decode(ids[: ends[0] if ends else len(ids)])
        half = len(text) // 2
        at = max(text.find("\n", 0, half), -1) + 1 or text.find(" ", 0, half) + 1  # of a line, else of a word
        text = text[at:]
    text = text.strip()
    columns = cell_len(text)
    border = _border(text, min(COLUMNS, columns // 2)) if columns >= LEAST else 0
    rest = text[border:]
    after = rest[: _border(rest, COLUMNS)] or rest
    return Beginning(text[:border], after) if border and after.strip() else None


def _border(text: str, columns: int) -> int:
    """Returns where a text can be cut after ``columns``: before a space, or at a character of two columns."""
    taken = 0
    for at, character in enumerate(text):
        width = cell_len(character)
        if taken >= columns and (character.isspace() or width > 1):
            return at
        taken += width
    return len(text) if taken >= columns // 2 else 0
