"""Texts that are translated part by part: what each part must contain, and which part takes a required phrase."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.tasks.translation.documents.preceding import preceding, read_before
from clearhead.tasks.translation.result import EMPTY, Translation
from clearhead.tasks.translation.search.native import Searching
from clearhead.text.division import Division, divide
from clearhead.text.glossary.entries import Entry
from clearhead.text.glossary.glossary import Glossary
from clearhead.text.overlong import OverlongSource, SplitSource
from clearhead.text.phrase import Automaton
from clearhead.text.phrase_book import Demand, PhraseBook
from clearhead.text.sentences import split_sentences
from clearhead.text.tokenizer import Tokenizer

Finders = Callable[[list[Entry]], dict[str, Automaton | None]]
"""(entries) -> what finds the target of each, by the target; None where no translation can contain it."""


@dataclass(frozen=True)
class Terms:
    """The entries of a glossary that occur in a text; what finds their targets stands by these."""

    entries: list[Entry] = field(default_factory=list)
    of_parts: list[dict[str, Automaton]] = field(default_factory=list)
    """Of each part, those that occur in it."""
    of_whole: dict[str, Automaton] = field(default_factory=dict)
    """Those that occur in no single part."""
    impossible: list[str] = field(default_factory=list)
    """Targets that no translation can contain."""

    @classmethod
    def in_text(cls, text: str, division: Division, glossary: Glossary, finders: Finders) -> "Terms":
        """Looks for the entries of a glossary in a text and its parts."""
        entries = glossary.found(text)
        if not entries:
            return cls()
        within = [glossary.found(part.text) for part in division.parts]
        every = dict.fromkeys([*entries, *(entry for own in within for entry in own)])
        found = finders(list(every))
        possible = {target: finder for target, finder in found.items() if finder is not None}
        of_parts = [{each.target: possible[each.target] for each in own if each.target in possible} for own in within]
        placed = {target for own in of_parts for target in own}
        rest = {each.target: possible[each.target] for each in every if each.target in possible.keys() - placed}
        return cls(list(every), of_parts, rest, [target for target in found if target not in possible])


Decode = Callable[[list[list[int]], list[list[int]], list[Demand]], Searching[list[list[Translation]]]]
"""(sources, prefixes, demands) -> translations of each source, best first, by the searches that it takes."""


@dataclass
class Job:
    """A text that is translated in parts."""

    division: Division
    demand: Demand
    """What the whole translation must contain and must not."""
    start: list[int]
    """Pieces that the whole translation begins with."""
    terms: Terms = field(init=False, default_factory=Terms)
    """What a glossary asks for; see ``ask``."""
    asked: list[Demand] = field(init=False)
    """What each part must contain and must not; a phrase of several parts has no place at first."""
    ranked: list[list[Translation]] = field(default_factory=list)
    """Translations of each part, best first."""

    def __post_init__(self) -> None:
        self._share([{}] * len(self.division.parts))

    def ask(self, text: str, glossary: Glossary, phrases: PhraseBook, room: int) -> None:
        """Requires the targets of a glossary, each of the parts that have its source; of the whole if none does.

        Args:
            text: that is translated.
            glossary: whose entries are looked for.
            phrases: of the target's tokenizer.
            room: pieces that a translation may have after the prefix.
        """
        finders = functools.partial(phrases.terms, avoided=self.demand.avoided, room=room)
        self.terms = Terms.in_text(text, self.division, glossary, finders)
        self.demand = replace(self.demand, required={**self.terms.of_whole, **self.demand.required})
        self._share(self.terms.of_parts or [{}] * len(self.division.parts))

    def _share(self, terms: Sequence[dict[str, Automaton]]) -> None:
        """Says what is asked of each part: its own terms, and of a single one all that is required."""
        of_all = self.demand if len(terms) == 1 else replace(self.demand, required={})
        self.asked = [replace(of_all, required={**own, **of_all.required}) for own in terms]

    def prefix(self, part: int) -> list[int]:
        """Pieces that the translation of a part begins with."""
        return [] if part else self.start

    @property
    def unplaced(self) -> list[str]:
        """Required phrases of a text of several parts."""
        return list(self.demand.required) if len(self.asked) > 1 else []

    def unmet(self, parts: Sequence[Sequence[int]]) -> list[str]:
        """Returns what pieces of each part do not contain, though it is required of them or of the whole."""
        missing = [*self.demand.unmet(parts), *self.terms.impossible]
        for ids, terms in zip(parts, self.terms.of_parts, strict=False):
            missing += [target for target, finder in terms.items() if not finder.contains(ids)]
        return list(dict.fromkeys(missing))


def divided(
    text: str,
    tokenizer: Tokenizer,
    sides: Sides,
    *,
    split: SplitSource,
    overlong: OverlongSource,
    prefix: str = "",
    before: str = "",
) -> Division:
    """Divides a text into parts that fit the model; not at sentence ends where ``prefix`` has several sentences.

    The pieces of a part begin with the tag of its language, and with what stands before it, where the model reads that:
    ``before`` is the text in front of this one.

    Raises:
        DataError: see ``divide``.
    """
    if split == "sentences" and prefix and len(split_sentences(prefix, sides.tgt.sentencex)) > 1:
        split = "overlong"
    language, limit = sides.src, sides.longest
    division = divide(text, tokenizer.encode, limit=limit, language=language, split=split, overlong=overlong)
    contexts = preceding(text, division, before) if sides.reads_context else [""] * len(division.parts)
    parts = [
        replace(part, ids=[*sides.lead, *read_before(context, len(part.ids), sides, tokenizer), *part.ids])
        if part.ids
        else part
        for part, context in zip(division.parts, contexts, strict=True)
    ]
    return replace(division, parts=parts)


def translate_parts(jobs: Sequence[Job], decode: Decode) -> Searching[None]:
    """Translates the parts of all texts, and fills ``ranked``.

    A required phrase goes to a part whose translation has it already, else to the one whose rank score falls least when
    it must contain the phrase.
    """
    parts = [(job, part, job.asked[part]) for job in jobs for part in range(len(job.asked))]
    decoded = iter((yield from _decoded(parts, decode)))
    for job in jobs:
        job.ranked = [next(decoded) for _ in job.asked]
    for turn in range(max((len(job.unplaced) for job in jobs), default=0)):
        yield from _place([job for job in jobs if turn < len(job.unplaced)], turn, decode)


def draw_parts(
    jobs: Sequence[tuple[Job, int]],
    draw: Callable[[list[list[int]], list[tuple[int, int]]], list[Translation]],
) -> None:
    """Draws the parts of all texts, each with the number of its text and its own, and fills ``ranked``."""
    parts = [(job, number, place) for job, number in jobs for place, part in enumerate(job.division.parts) if part.ids]
    drawn = draw(
        [job.division.parts[place].ids for job, _, place in parts], [(number, place) for _, number, place in parts]
    )
    for job, _ in jobs:
        job.ranked = [[EMPTY] for _ in job.asked]
    for (job, _, place), translation in zip(parts, drawn, strict=True):
        job.ranked[place] = [translation]


def _place(jobs: Sequence[Job], turn: int, decode: Decode) -> Searching[None]:
    """Finds a part for the phrase number ``turn`` of each text."""
    trials = [trial for job in jobs for trial in _trials(job, job.unplaced[turn])]
    best: dict[int, tuple[tuple[bool, bool, float], Job, int, Demand, list[Translation]]] = {}
    decoded = yield from _decoded(trials, decode)
    for (job, part, demand), ranked in zip(trials, decoded, strict=True):
        first = ranked[0]
        loss = first.rank_score - job.ranked[part][0].rank_score
        worth = (not demand.unmet([first.target_ids]), first.complete, loss)
        if id(job) not in best or worth > best[id(job)][0]:
            best[id(job)] = worth, job, part, demand, ranked
    for (met, _, _), job, part, demand, ranked in best.values():
        if met:
            job.asked[part], job.ranked[part] = demand, ranked


def _trials(job: Job, phrase: str) -> list[tuple[Job, int, Demand]]:
    """Returns the parts that could take a phrase, each with what would then be asked of it."""
    finder = job.demand.required[phrase]
    having = [part for part, ranked in enumerate(job.ranked) if finder.contains(ranked[0].target_ids)]
    return [
        (job, part, replace(job.asked[part], required={**job.asked[part].required, phrase: finder}))
        for part in having[:1] or range(len(job.asked))
        if job.division.parts[part].ids
    ]


def _decoded(trials: Sequence[tuple[Job, int, Demand]], decode: Decode) -> Searching[list[list[Translation]]]:
    sources = [job.division.parts[part].ids for job, part, _ in trials]
    prefixes = [job.prefix(part) for job, part, _ in trials]
    return (yield from decode(sources, prefixes, [demand for _, _, demand in trials]))
