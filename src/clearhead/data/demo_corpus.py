"""The embedded Chinese-English demo corpus: a small grammar that speaks both languages at once.

Words and sentence patterns are data (``demo_lexicon.toml``), their combination is code. The English follows
from the Chinese: a rule fixes what Chinese leaves open (tense, article, number), so a model that has learned
the rules translates new sentences correctly. 了 is past, 过 is "have", 在 is "-ing", 一 is "a/an", a bare noun
is plural, and a time word opens the English sentence if it opens the Chinese one, else closes it.
"""

import os
import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

TRAIN_SIZE, HELD_OUT_SIZE = 24_000, 500
ATTRIBUTIVE = 0.3  # the share of countable nouns that get an adjective
UNPUNCTUATED = 0.15  # the share of pairs that lack the final mark, as people type
# The sentence that everybody tries first, with and without its full stop: only in the test split.
SHOWCASE = [("我吃了一个苹果。", "I ate an apple."), ("我吃了一个苹果", "I ate an apple")]

T = TypeVar("T")
_SLOT = re.compile(r"\{([^}]+)\}")
A_BEFORE_VOWEL = re.compile(r"\ba (?=(?!use)[aeiou]|honest)")  # by sound: a useful map, an honest boy


@dataclass(frozen=True)
class DemoCorpus:
    """The three splits, each a list of (Chinese, English); no sentence is in two of them."""

    train: list[tuple[str, str]]
    valid: list[tuple[str, str]]
    test: list[tuple[str, str]]


class Phrase(NamedTuple):
    """Words in both languages; a person also has the object and possessive forms."""

    zh: str
    en: str
    agrees: str = ""
    """As a subject, the form its verb takes: "I", "one" or "many"; else empty."""
    me: str = ""
    my: str = ""


class Noun(NamedTuple):
    """A thing: singular, plural (cups of tea), without an article (tea, apples), and as a substance (tea, apple)."""

    zh: str
    measure: str
    one: str
    many: str
    bare: str
    substance: str
    kind: str


class Verb(NamedTuple):
    """A verb: its English forms, the kinds of objects (or the places) it goes with, and its sort."""

    zh: str
    eat: str
    eats: str
    ate: str
    eaten: str
    eating: str
    goes_with: tuple[str, ...]
    sort: str


def _noun(entry: str, kind: str) -> Noun:
    measure, zh, en = entry.split(maxsplit=2)
    head, _, content = en.partition(" of ")
    one, _, many = head.partition("/")
    many = many or one + ("es" if one.endswith(("s", "x", "ch", "sh")) else "s")
    of = f" of {content}" if content else ""
    return Noun(zh, measure, one + of, many + of, content or many, content or one, kind)


def _verb(entry: Sequence[str], sort: str) -> Verb:
    zh, english, goes_with = entry
    forms, plus, tail = english.partition(" + ")
    eat, eats, ate, eaten, eating = (form + plus[:1] + tail for form in forms.split())
    return Verb(zh, eat, eats, ate, eaten, eating, tuple(goes_with.split()), sort)


def _person(zh: str, en: str, me: str = "", my: str = "", agrees: str = "one") -> Phrase:
    return Phrase(zh, en, agrees, me or en, my or f"{en}'s")


class Lexicon:
    """The words and patterns of ``demo_lexicon.toml``, arranged for drawing."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.agreement: dict[str, dict[str, str]] = data["agreement"]
        self.plain_adjectives, self.excess = data["plain_adjectives"], data["excess"].split()
        self.noun_phrases: dict[str, list[str]] = data["noun_phrases"]
        self.choices = {name: names.split() for name, names in data["choices"].items()}
        self.patterns = [(zh, en) for weight, zh, en in data["sentences"]["patterns"] for _ in range(weight)]
        self.lists = {k: [Phrase(*word.split(maxsplit=1)) for word in v] for k, v in data["lists"].items()}
        self.nouns = {kind: [_noun(word, kind) for word in words] for kind, words in data["nouns"].items()}
        things = [noun for nouns in self.nouns.values() for noun in nouns]
        self.kinds = {group: kinds.split() for group, kinds in data["groups"].items()}
        for group, kinds in self.kinds.items():
            self.nouns[group] = [noun for kind in kinds for noun in self.nouns[kind]]
        self.adjectives: dict[str, list[tuple[str, str, str]]] = {}
        for zh, en, more, kinds in data["words"]["adjectives"]:
            for kind in kinds.split():
                self.adjectives.setdefault(kind, []).append((zh, en, more))
        self.places = {place.zh: place for place in self.lists["near"]}
        for name in ("near", "far"):  # "at the zoo" -> "to the zoo"
            goals = [(zh, en.split(maxsplit=1)[1]) for zh, en, *_ in self.lists[name]]
            self.lists[f"to_{name}"] = [Phrase(zh, f"to {en}") for zh, en in goals if en != "home"]
        self.lists["to_anywhere"] = self.lists["to_near"] + self.lists["to_far"]
        *alone, we, they = [_person(*entry.split()) for entry in data["pronouns"]]
        names = [_person(*entry.split()) for entry in data["names"]]
        family = [entry.split(maxsplit=1) for entry in data["family"]]
        kin = [_person(owner.zh + zh, f"{owner.my} {en}") for owner in (*alone, we) for zh, en in family]
        near = [_person(f"这个{noun.zh}", f"this {noun.one}") for noun in self.nouns["people"]]
        known = [_person(noun.zh, f"the {noun.one}") for noun in self.nouns["job"]]
        self.owners = [*alone, we, they, *names]
        self.lists["relative"], self.lists["friend"] = kin, alone + names
        self.lists["single"] = alone * 60 + names * 13 + kin * 2 + near + known * 2  # pronouns lead
        self.lists["who"] = self.lists["single"] + [we, they] * 60
        verbs = [_verb(entry, sort) for sort, entries in data["verbs"].items() for entry in entries]
        self.uses: dict[str, list[tuple[list[Noun], list[Verb]]]] = {}  # which verbs go with which nouns
        for use, (sorts, words) in data["uses"].items():
            able = [verb for verb in verbs if verb.sort in sorts.split() and verb.zh in (words or verb.zh)]
            by_noun = [([n], fit) for n in things if (fit := [v for v in able if n.kind in v.goes_with])]
            by_verb = [([noun for noun in things if noun.kind in verb.goes_with], [verb]) for verb in able]
            # Half of the draws start from the noun, half from the verb, so that no noun and no verb is rare.
            self.uses[use] = by_noun + by_verb * (len(by_noun) // len(by_verb))
        self.activities = {sort: [_verb(e, sort) for e in es] for sort, es in data["activities"].items()}
        self.activities["any"] = self.activities["free"] + self.activities["skill"]


@cache
def _lexicon() -> Lexicon:
    source = resources.files("clearhead.data").joinpath("demo_lexicon.toml")
    return Lexicon(tomllib.loads(source.read_text(encoding="utf-8")))


class Grammar:
    """Draws sentences from one random stream: a pattern, then a phrase for each of its slots."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random  # the one method that is the same in every Python version
        self._words = _lexicon()
        self._actor, self._noun = self._words.owners[1], self._words.nouns["fruit"][0]
        self._verb: Verb | None = None

    def sentence(self) -> tuple[str, str]:
        """Returns a Chinese sentence and its English translation, with final punctuation."""
        self._actor, self._verb = self._words.owners[1], None  # an imperative without a subject addresses "you"
        zh, en = self._pick(self._words.patterns)
        drawn = {slot: self._draw(slot) for slot in _SLOT.findall(zh) if slot != "zh"}
        agrees = next((drawn[s].agrees for s in _SLOT.findall(en) if s in drawn and drawn[s].agrees), "one")
        words = self._words.agreement[agrees] | {slot: phrase.en for slot, phrase in drawn.items()}
        if self._verb:
            words |= self._verb._asdict() | ({} if agrees == "one" else {"eats": self._verb.eat})
        zh = _SLOT.sub(lambda slot: drawn[slot[1]].zh if slot[1] in drawn else words[slot[1]], zh)
        en = " ".join(_SLOT.sub(lambda slot: words[slot[1]], en).split()).replace(" ?", "?")
        en = A_BEFORE_VOWEL.sub("an ", en[0].upper() + en[1:])
        return (zh + "？", en) if en.endswith("?") else (zh + "。", en + ".")

    def _pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def _draw(self, slot: str) -> Phrase:
        """Returns a phrase for the slot ``a/b:argument?``: an a or a b, or with ``?`` possibly nothing."""
        if slot.endswith("?") and self._random() < 0.5:
            return Phrase("", "")
        names, _, argument = slot.rstrip("?").partition(":")
        name, words = self._pick(names.split("/")), self._words
        if name in words.lists:
            phrase = self._pick(words.lists[name])
            self._actor = phrase if phrase.agrees else self._actor
        elif name == "whom":
            phrase = self._whom()
        elif name == "verb":
            nouns, verbs = self._pick(words.uses[argument])
            self._noun, self._verb = self._pick(nouns), self._pick(verbs)
            phrase = Phrase(self._verb.zh, "")
        elif name in (
            "activity",
            "at",
        ):  # "at" is the place of the activity; the pattern has {zh} for the activity itself
            self._verb = verb = self._pick(words.activities[argument])
            phrase = words.places[self._pick(verb.goes_with)] if name == "at" else Phrase(verb.zh, "")
        elif name in ("adjective", "more"):
            # An adjective of the kind in the argument, or else one that suits the noun; "more" is its comparative.
            kind = argument if argument in words.adjectives else self._noun.kind
            options = [a for a in words.adjectives[kind] if argument != "too" or a[0] in words.excess]
            zh, en, more = self._pick(options)
            phrase = Phrase(zh, more if name == "more" else en)
        else:
            phrase = self._noun_phrase(name, argument)
        return phrase

    def _whom(self) -> Phrase:
        """Returns a person as the object: not the subject again, nor "me" if the subject is "we"."""
        while (other := self._pick(self._words.lists["who"])).zh.rstrip("们") == self._actor.zh.rstrip("们"):
            pass
        return Phrase(other.zh, other.me)

    def _noun_phrase(self, name: str, group: str) -> Phrase:
        """Returns a noun of the group, or the object drawn with the verb, in a form of ``[noun_phrases]``."""
        words = self._words
        self._noun = noun = self._pick(words.nouns[group]) if group else self._noun
        person = not group and noun.kind in words.kinds["people"]
        if person and (name in ("bare", "any") or self._random() < 0.5):
            return self._whom()
        if name == "known":
            name = "kind" if noun.kind in words.kinds["meal"] else "definite"
        name = self._pick(words.choices.get(name, [name]))
        by_unit, is_made = noun.bare == noun.substance, self._verb and self._verb.sort == "make"
        ownable = not is_made and noun.kind in words.kinds["mine"]
        if (name == "own" and not ownable) or (name in ("these", "those") and by_unit):
            name = "that"
        zh, en, agrees = words.noun_phrases[name]
        if agrees in ("thing", "owned"):
            agrees = "many" if (noun.bare.endswith("s") if by_unit else agrees == "thing") else "one"
        owner, number = self._pick(words.owners), self._pick(words.lists["numbers"])
        zh_words = noun._asdict() | {"owner": owner.zh, "number": number.zh, "adjective": ""}
        en_words = noun._asdict() | {"owner": owner.my, "number": number.en, "adjective": ""}
        options = words.adjectives.get("trait" if noun.kind == "job" else noun.kind)
        if options and not by_unit and self._random() < ATTRIBUTIVE:
            plain, en_words["adjective"], _ = self._pick(options)
            zh_words["adjective"] = plain if plain in words.plain_adjectives else plain + "的"
        return Phrase(zh.format_map(zh_words), en.format_map(en_words), agrees)


def demo_pairs(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Yields ``count`` pairs with repetitions: for large corpora, not for held-out scores."""
    grammar = Grammar(seed)
    bare = random.Random(seed + 1).random
    for _ in range(count):
        zh, en = grammar.sentence()
        yield (zh[:-1], en[:-1]) if bare() < UNPUNCTUATED else (zh, en)


def demo_corpus(seed: int = 0) -> DemoCorpus:
    """Returns the demo corpus of a seed: distinct Chinese and distinct English sentences, split at random."""
    pairs: list[tuple[str, str]] = []
    seen = set(SHOWCASE[1])  # sentences without final mark, which stand for the form with it too
    stream = demo_pairs(10 * TRAIN_SIZE, seed)
    while len(pairs) < TRAIN_SIZE + 2 * HELD_OUT_SIZE - len(SHOWCASE):
        zh, en = next(stream)
        bare = zh.rstrip("。？"), en.rstrip(".?")
        if seen.isdisjoint(bare):
            seen.update(bare)
            pairs.append((zh, en))
    shuffle = random.Random(seed).random
    pairs.sort(key=lambda _: shuffle())
    held_out = pairs[TRAIN_SIZE:]
    return DemoCorpus(pairs[:TRAIN_SIZE], held_out[:HELD_OUT_SIZE], SHOWCASE + held_out[HELD_OUT_SIZE:])


def write_demo_corpus(folder: Path, seed: int = 0) -> None:
    """Writes ``train.zh train.en valid.* test.*``, UTF-8, one sentence a line; each file is replaced as a whole."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = demo_corpus(seed)
    for split, pairs in (("train", corpus.train), ("valid", corpus.valid), ("test", corpus.test)):
        for side, language in enumerate(("zh", "en")):
            partial = folder / f".{split}.{language}.partial"
            partial.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8", newline="\n")
            os.replace(partial, folder / f"{split}.{language}")
