"""What the code of a language says about its text: the tokenizer of BLEU, its sentence ends, how parts are joined."""

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from clearhead.log import LOG

if TYPE_CHECKING:
    import langcodes

BleuTokenize = Literal["13a", "none", "zh", "char", "intl"]
"""The tokenizers of sacreBLEU (Post 2018, arXiv:1804.08771) that need no further package."""

_HAN = frozenset("Hani Hans Hant Hanb".split())
# Han and what is written like it, in squares and with wide marks: no space after a sentence either.
_SQUARE = _HAN | frozenset("Jpan Hrkt Hira Kana Bopo Yiii Tang Nshu Kits".split())
# No space between words; between sentences and clauses there is one (Unicode Standard, chapters 13, 16 and 17; UAX 14,
# classes SA and AK).
_UNSPACED = _SQUARE | frozenset(
    "Thai Laoo Khmr Mymr Tibt Lana Talu Tale Tavt Java Bali Batk Bugi Maka Rjng Kawi".split()
)
_PLACEHOLDERS = re.compile(r"src|tgt|trg|txt|und|mul|mis|zxx|q[a-t][a-z]")
"""Codes in ISO's tables that name no language, or are used as endings of files by people who mean none."""
_SCRIPTS = {
    "LATIN": "Latn", "CYRILLIC": "Cyrl", "GREEK": "Grek", "ARABIC": "Arab", "HEBREW": "Hebr", "DEVANAGARI": "Deva",
    "BENGALI": "Beng", "TAMIL": "Taml", "TELUGU": "Telu", "THAI": "Thai", "LAO": "Laoo", "KHMER": "Khmr",
    "MYANMAR": "Mymr", "GEORGIAN": "Geor", "ARMENIAN": "Armn", "ETHIOPIC": "Ethi", "TIBETAN": "Tibt", "CJK": "Hani",
    "HIRAGANA": "Hira", "KATAKANA": "Kana", "HANGUL": "Hang",
}  # fmt: skip
"""ISO 15924 by the first word of the Unicode names of a script's letters."""
_PARTS = {
    "Hans": {"Hani"},
    "Hant": {"Hani"},
    "Jpan": {"Hani", "Hira", "Kana"},
    "Kore": {"Hang", "Hani"},
}
"""The scripts that a script of several is made of."""
LETTERS = 1000  # of a text that are looked at


@dataclass(frozen=True)
class Language:
    """How text of one language is scored, cut and joined; see ``read_language``."""

    code: str
    """BCP 47 in its shortest form, as langcodes normalises it: ``zh``, ``zh-Hant``; what was given if not known."""
    sentencex: str
    """The code by which sentencex looks up the sentence ends and abbreviations: ``zh``, ``ja``."""
    bleu_tokenize: BleuTokenize
    """sacreBLEU's tokenizer: ``zh`` for Han, ``char`` for other scripts without spaces between words, else ``13a``."""
    joiner: str
    """What stands between two words: a space, or nothing. It joins parts that were cut inside of a sentence."""
    sentence_joiner: str
    """What stands between two sentences: nothing in Chinese and Japanese, else a space (in Thai and Khmer too)."""
    known: bool
    """Whether the code is that of a language; else ``note`` says what it was taken for."""
    note: str = ""
    """One line about what was assumed; empty if known."""
    script: str = ""
    """Its script by ISO 15924: ``Hans``, ``Latn``; empty if that is not known."""


@functools.cache
def read_language(code: str) -> Language:
    """Returns what is known of a language; says in the log, once for each code, what is assumed if it is not known.

    Args:
        code: any code that people use, in any case, with ``-`` or ``_``: BCP 47 (``zh-CN``), ISO 639-1, -2 and -3
            (``zh``, ``chi``, ``zho``, ``cmn``), FLORES (``zho_Hans``), mBART (``zh_CN``), locales (``zh_CN.UTF-8``),
            or an ending of files whose last part is a code (``tok.zh``). A country (``cn``, ``jp``) is read as its
            most common language. Any other is assumed to be written like English.
    """
    if (tag := _tag(code)) is not None:
        return _language(tag)
    if (tag := _meant(code)) is not None:
        code_of, kind = _shortest(tag), "is the code of a country" if len(code) == 2 else "is no code of a language"
        note = f"language {code!r}: {kind}; read as {code_of!r}"
        LOG.warning("%s", note)
        return _language(tag, note)
    note = (
        f"language {code!r}: is no known code (BCP 47, ISO 639 or FLORES); its text is taken to be written like "
        "English: with spaces between words, scored by BLEU's tokenizer 13a"
    )
    LOG.warning("%s", note)
    return Language(code, "en", "13a", " ", " ", known=False, note=note)


def _language(tag: "langcodes.Language", note: str = "") -> Language:
    script, code = tag.maximize().script or "", _shortest(tag)
    unspaced = script in _UNSPACED
    return Language(
        code,
        code.split("-")[0],
        "zh" if script in _HAN else "char" if unspaced else "13a",
        "" if unspaced else " ",
        "" if script in _SQUARE else " ",
        known=not note,
        note=note,
        script=script,
    )


def _shortest(tag: "langcodes.Language") -> str:
    """The code of a language, without a script that goes without saying; Mandarin is Chinese."""
    import langcodes

    whole = langcodes.Language.get(langcodes.standardize_tag(tag, macro=True))
    bare = langcodes.Language.make(language=whole.language, territory=whole.territory)
    return (bare if bare.maximize().script == tag.maximize().script else whole).to_tag()


def _tag(code: str) -> "langcodes.Language | None":
    """The language that a code, or the last dotted part of it that is one, stands for."""
    import langcodes

    for part in _parts(code):
        if _PLACEHOLDERS.fullmatch(part.lower().replace("_", "-").split("-")[0]):
            continue
        try:
            tag = langcodes.Language.get(part)
        except ValueError:
            continue
        if tag.language and tag.is_valid():
            return tag
    return None


def _parts(code: str) -> Iterator[str]:
    whole = code.strip("_<>- ")  # M2M writes __zh__, Marian >>zh<<
    yield whole
    if "." in whole:
        yield from reversed(whole.split("."))


def _meant(code: str) -> "langcodes.Language | None":
    """The language of a country's code, or of what stands before the first hyphen."""
    import langcodes

    begin = re.split("[-_.@]", code)[0]
    if begin != code:
        return _tag(begin)
    if not re.fullmatch("[A-Za-z]{2}", code):
        return None
    likely = langcodes.Language.get(f"und-{code.upper()}").maximize()
    # no country has that code, or one where English is spoken: what is assumed of any unknown code
    return None if likely.language in (None, "en") else langcodes.Language.get(likely.language or "")


@functools.lru_cache(LETTERS)
def _script_of(letter: str) -> str:
    """Returns the first word of a letter's Unicode name."""
    return unicodedata.name(letter, "").split(" ")[0].split("-")[0]


def own_script(text: str, language: Language) -> float | None:
    """Returns the share of the letters of ``text`` that are of the script of ``language``; 1 where there are none.

    Letters of scripts that are not known here do not count. None if the language, or its script, is not known.
    """
    script = language.script
    if not script or script not in {*_SCRIPTS.values(), *_PARTS}:
        return None
    written = _PARTS.get(script, {script})
    letters = [character for character in text[: 4 * LETTERS] if character.isalpha()][:LETTERS]
    scripts = [_SCRIPTS[name] for name in map(_script_of, letters) if name in _SCRIPTS]
    return sum(each in written for each in scripts) / len(scripts) if scripts else 1.0


def other_script(text: str, language: Language, *, least: int = 3) -> str:
    """Returns the script of most letters of ``text`` if ``language`` is not written in it, as ``LATIN``; else "".

    A text of fewer than ``least`` letters, of scripts or of a language that are not known here, gives an empty string.
    """
    script = language.script
    letters = [character for character in text[: 4 * LETTERS] if character.isalpha()][:LETTERS]
    names = Counter(map(_script_of, letters))
    if len(letters) < max(1, least) or not script or script not in {*_SCRIPTS.values(), *_PARTS}:
        return ""
    name, count = names.most_common(1)[0]
    written = _PARTS.get(script, {script})
    return name if 2 * count > len(letters) and name in _SCRIPTS and _SCRIPTS[name] not in written else ""
