"""A required phrase goes to the part that loses the least by it; the prefix begins the first part alone."""

from dataclasses import dataclass, field

from clearhead.tasks.translation.parts import Job, Terms, translate_parts
from clearhead.tasks.translation.result import Translation
from clearhead.tasks.translation.search.native import Searching
from clearhead.text.division import Division, Part
from clearhead.text.glossary.entries import Entry
from clearhead.text.glossary.glossary import Glossary
from clearhead.text.phrase import Automaton
from clearhead.text.phrase_book import Demand, PhraseBook
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

TOKENIZER = Tokenizer.train(["abcdefgh xyz"] * 4, TokenizerConfig(kind="char", vocab_size=40))
BOOK = PhraseBook(TOKENIZER)


@dataclass
class Decoder:
    """Translates a source to its letters and what is required; ``costs`` say what the phrase costs each source."""

    costs: dict[str, float]
    asked: list[tuple[str, str, list[str]]] = field(default_factory=list)

    def __call__(
        self, sources: list[list[int]], prefixes: list[list[int]], demands: list[Demand]
    ) -> Searching[list[list[Translation]]]:
        yield from ()  # it searches for nothing
        results = []
        for source, prefix, demand in zip(sources, prefixes, demands, strict=True):
            text = TOKENIZER.decode(source)
            self.asked.append((text, TOKENIZER.decode(prefix), list(demand.required)))
            said = " ".join([TOKENIZER.decode(prefix) + text, *demand.required])
            cost = -self.costs[text] * len(demand.required)
            results.append([Translation(said, cost, cost, [], [], [], target_ids=TOKENIZER.encode(said))])
        return results


def job(texts: list[str], require: list[str], start: str = "") -> Job:
    (demand,) = BOOK.demands(require, (), count=1, prefix="", room=20)
    return Job(Division([Part("", TOKENIZER.encode(text)) for text in texts]), demand, TOKENIZER.encode(start))


def said(job: Job) -> list[str]:
    return [ranked[0].text for ranked in job.ranked]


def carry_out(searching: Searching[None]) -> None:
    assert list(searching) == []


def test_a_phrase_takes_the_cheapest_part() -> None:
    several, one = job(["ab", "cd", "ef"], ["x", "y"]), job(["gh"], ["z"])
    carry_out(translate_parts([several, one], Decoder({"ab": 3.0, "cd": 1.0, "ef": 1.25, "gh": 9.0})))
    assert said(several) == ["ab", "cd x y", "ef"]
    assert said(one) == ["gh z"]


def test_a_part_that_has_the_phrase_keeps_it() -> None:
    having = job(["ab", "c x", "ef"], ["x"])
    carry_out(translate_parts([having], Decoder({"ab": 0.0, "c x": 9.0, "ef": 0.0})))
    assert said(having) == ["ab", "c x x", "ef"]


def test_the_prefix_begins_the_first_part_alone() -> None:
    decoder = Decoder({"ab": 1.0, "cd": 2.0})
    begun = job(["ab", "cd"], [], "z")
    carry_out(translate_parts([begun], decoder))
    assert said(begun) == ["zab", "cd"]
    assert decoder.asked == [("ab", "z", []), ("cd", "", [])]


def finders(entries: list[Entry]) -> dict[str, Automaton | None]:
    return BOOK.terms(entries, avoided=None, room=3)


def test_entries_of_a_glossary_go_to_the_parts_that_have_their_sources() -> None:
    texts, glossary = ["ab", "cd ab", "ef"], Glossary.of([("ab", "x"), ("cd", "yyyy"), ("ab ef", "z"), ("gh", "zz")])
    division = Division([Part("", TOKENIZER.encode(text), text=text) for text in texts])
    # the longest is found in the whole, and by part what is in it
    terms = Terms.in_text("ab cd ab ef", division, glossary, finders)
    assert [entry.source for entry in terms.entries] == ["ab", "cd", "ab ef"]
    assert [list(own) for own in terms.of_parts] == [["x"], ["x"], []]
    assert list(terms.of_whole) == ["z"], "in no single part"
    assert terms.impossible == ["yyyy"], "longer than there is room"
    whole = Job(division, Demand(), [])
    whole.ask("ab cd ab ef", glossary, BOOK, 3)
    assert whole.terms == terms
    carry_out(translate_parts([whole], Decoder({"ab": 3.0, "cd ab": 2.0, "ef": 1.0})))
    assert said(whole) == ["ab x", "cd ab x", "ef z"]
    assert whole.unmet([each[0].target_ids for each in whole.ranked]) == ["yyyy"]
    assert whole.unmet([TOKENIZER.encode(text) for text in ("x", "y", "y")]) == ["z", "yyyy", "x"], "x is in one of two"
    assert Terms.in_text("nothing", division, Glossary.of([("q", "x")]), finders) == Terms()
