"""Fonts of a picture: which of those installed have its characters, and how a character is spelled that none has."""

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from clearhead.log import LOG

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

SANS, MONO = "DejaVu Sans", "DejaVu Sans Mono"
"""The fonts that matplotlib brings; characters that one lacks are taken from the other."""
CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("Microsoft YaHei", "SimHei", "PingFang SC", "Noto Sans CJK JP"),
)
"""Families that are asked first; the others follow by their names."""
EMPTY = re.compile(r"\.?Last ?Resort|Adobe Blank|Unifont.*(CSUR|Upper)")
"""Families whose glyphs are boxes, for every character there is."""
CJK = re.compile("[\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")


@dataclasses.dataclass(frozen=True)
class Fonts:
    """The fonts of one picture."""

    families: tuple[str, ...]
    """Beside matplotlib's own."""
    missing: frozenset[str]
    """Characters that no installed font has."""

    def of(self, family: str) -> list[str]:
        """Returns the families for texts of one; each character comes from the first that has it."""
        return [family, SANS if family == MONO else MONO, *self.families]

    def dress(self, figure: "Figure | SubFigure") -> None:
        """Gives every text of a figure its families, and none the meaning of a formula between ``$``."""
        from matplotlib.text import Text

        for text in figure.findobj(Text):
            text.set_fontfamily(self.of(MONO if MONO in text.get_fontfamily() else SANS))
            text.set_parse_math(False)

    def warn(self) -> None:
        """Says in the log which characters are missing, and what to install, if there are any."""
        if not self.missing:
            return
        first = min(self.missing)
        named = "Noto Sans CJK (Debian: fonts-noto-cjk)" if self.lacks_chinese else "Noto (Debian: fonts-noto)"
        says = "the picture: no font has %d of its characters, such as %s, which stands there as %s; install %s"
        LOG.warning(says, len(self.missing), first, spelled_letter(first), named)

    @property
    def lacks_chinese(self) -> bool:
        """Whether what is missing are characters of Chinese, Japanese or Korean."""
        return any(map(CJK.match, self.missing))


def fonts_of(figure: "Figure | SubFigure") -> Fonts:
    """Returns the fonts for all texts that a figure has."""
    from matplotlib.text import Text

    return fonts_for({letter for text in figure.findobj(Text) for letter in text.get_text()})


def fonts_for(letters: Iterable[str]) -> Fonts:
    """Returns fonts that together have the characters, as their own tables say; line ends need no glyph.

    matplotlib keeps a list of the fonts it saw once. Where that is not enough, those installed since then are added.
    """
    from matplotlib import font_manager

    missing = {letter for letter in letters if letter != "\n"}
    chosen = list[str]()
    missing -= _had_by(SANS, missing) | _had_by(MONO, missing)
    for again in (False, True):
        if missing and again:
            _add_new_fonts()
        names = sorted(set(font_manager.get_font_names()) - {SANS, MONO, *chosen}) if missing else []
        preferred = [name for name in CHINESE_FONTS if name in names]
        for name in [*preferred, *(name for name in names if name not in preferred)]:
            had = set() if EMPTY.match(name) or not missing else _had_by(name, missing)
            if had:
                chosen.append(name)
                missing -= had
    return Fonts(tuple(chosen), frozenset(missing))


def spelled_letter(letter: str) -> str:
    r"""Returns a character by its code: ``\u6211``."""
    return letter.encode("unicode_escape").decode("ascii")


def spelled(value: Any, missing: frozenset[str]) -> Any:
    """Returns plain values, or a dataclass of such, with the missing characters of all their texts by their codes."""
    match value:
        case str():
            return type(value)("".join(spelled_letter(x) if x in missing else x for x in value))
        case Mapping():
            return {spelled(key, missing): spelled(content, missing) for key, content in value.items()}
        case list() | tuple():
            return type(value)(spelled(content, missing) for content in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: spelled(getattr(value, field.name), missing) for field in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    return value


def _had_by(family: str, letters: set[str]) -> set[str]:
    """Returns those of some characters for which the font that stands for a family has a glyph."""
    from matplotlib import font_manager

    with _quiet(), contextlib.suppress(OSError, ValueError, RuntimeError):  # a file that is gone, or is damaged
        properties = font_manager.FontProperties(family=[family])
        file = font_manager.findfont(properties, fallback_to_default=False, rebuild_if_missing=False)
        font = font_manager.get_font(file)
        return {letter for letter in letters if font.get_char_index(ord(letter))}
    return set()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps matplotlib from saying which weight it takes for one that a family lacks."""
    logger = logging.getLogger("matplotlib.font_manager")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _add_new_fonts() -> None:
    from matplotlib import font_manager

    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for file in font_manager.findSystemFonts():
        if file not in known:
            with contextlib.suppress(OSError, ValueError, RuntimeError):
                font_manager.fontManager.addfont(file)
