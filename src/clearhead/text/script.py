"""Says whether a text is in another script than its language is written in."""

import unicodedata
from collections import Counter

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


def other_script(text: str, language: str) -> str:
    """Returns the script of most letters of ``text`` if ``language`` is not written in it, as ``LATIN``; else "".

    A text of fewer than three letters, of scripts or of a language that are not known here, gives an empty string.
    """
    import langcodes

    try:
        script = langcodes.Language.get(language).maximize().script or ""
    except ValueError:
        return ""
    letters = [character for character in text[: 4 * LETTERS] if character.isalpha()][:LETTERS]
    names = Counter(unicodedata.name(letter, "").split(" ")[0].split("-")[0] for letter in letters)
    if len(letters) < 3 or not script or script not in {*_SCRIPTS.values(), *_PARTS}:
        return ""
    name, count = names.most_common(1)[0]
    written = _PARTS.get(script, {script})
    return name if 2 * count > len(letters) and name in _SCRIPTS and _SCRIPTS[name] not in written else ""
