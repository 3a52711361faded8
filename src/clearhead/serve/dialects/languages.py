"""Which translator of a server reads and writes which languages, and in which language a text is."""

from dataclasses import dataclass

from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.text.language import Language, other_script


@dataclass(frozen=True)
class Guess:
    """The language that a text is taken for."""

    code: str
    confidence: float
    """0 to 100."""


def base(code: str) -> str:
    """Returns the language of a code without script and country, in lower case: ``en`` of ``EN-GB``."""
    return code.replace("_", "-").partition("-")[0].lower()


def translator_for(site: Site, source: str | None, target: str, text: str = "") -> Served | None:
    """Returns the translator of a pair; where the source is not named, the one that reads ``text`` best."""
    fitting = [
        served
        for served in site.models.of("translator")
        if base(served.now.model.sides.tgt.code) == base(target)
        and (source is None or base(served.now.model.sides.src.code) == base(source))
    ]
    if source is None and len(fitting) > 1:
        return max(fitting, key=lambda served: read_share(served, text))
    return fitting[0] if fitting else None


def read_share(served: Served, text: str) -> float:
    """Returns how much of a text a translator's source vocabulary knows, 0 to 1; none where its script is another."""
    model = served.now.model
    if not text.strip():
        return 0.0
    if other_script(text, model.sides.src, least=1):
        return 0.0
    pieces = model.tokenizers.src.encode(text[:2000])
    unknown: int = model.tokenizers.src.count_unknown(pieces)
    return 1.0 - unknown / max(1, len(pieces))


def detect(site: Site, text: str, target: str | None = None) -> list[Guess]:
    """Returns the languages that a text may be in, of those that translators read, the likeliest first.

    Args:
        site: with the models.
        text: of any length.
        target: asks only translators to that language.
    """
    shares: dict[str, float] = {}
    for served in site.models.of("translator"):
        if target is not None and base(served.now.model.sides.tgt.code) != base(target):
            continue
        code = base(served.now.model.sides.src.code)
        shares[code] = max(shares.get(code, 0.0), read_share(served, text))
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    return [Guess(code, round(100 * share, 1)) for code, share in ranked]


def sources(site: Site) -> list[Language]:
    """Returns the languages that are read, each once."""
    return _each([served.now.model.sides.src for served in site.models.of("translator")])


def targets(site: Site, source: str | None = None) -> list[Language]:
    """Returns the languages that are written, of one source or of all."""
    sides = [served.now.model.sides for served in site.models.of("translator")]
    return _each([each.tgt for each in sides if source is None or base(each.src.code) == base(source)])


def _each(languages: list[Language]) -> list[Language]:
    return list({base(language.code): language for language in languages}.values())


NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish", "de": "German",
    "el": "Greek", "en": "English", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian", "fi": "Finnish",
    "fr": "French", "ga": "Irish", "gl": "Galician", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "id": "Indonesian", "is": "Icelandic", "it": "Italian", "ja": "Japanese", "ka": "Georgian", "ko": "Korean",
    "lt": "Lithuanian", "lv": "Latvian", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch", "no": "Norwegian",
    "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovenian",
    "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "th": "Thai",
    "tl": "Tagalog", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese",
    "yue": "Cantonese", "zh": "Chinese",
}  # fmt: skip
"""English names by ISO 639; a code that is not here is its own name."""


def name_of(code: str) -> str:
    """Returns the English name of a language."""
    return NAMES.get(base(code), code)
