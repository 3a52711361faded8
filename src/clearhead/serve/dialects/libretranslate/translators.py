"""Which translators take which of a request's texts, in their order again afterwards."""

from collections.abc import Sequence
from typing import Any

from clearhead.documents.blocks import Document
from clearhead.serve.dialects.languages import base, sources, targets, translator_for
from clearhead.serve.dialects.libretranslate.shape import unsupported
from clearhead.serve.dialects.lines import Lines, joined
from clearhead.serve.dialects.marked import filled_in
from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.models import Served
from clearhead.serve.site import Site
from clearhead.serve.translating import translated

AUTO = "auto"
"""In place of a source, which is then found by each text."""


class Translators:
    """The translators of a site, by pairs of languages.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    async def plain(
        self, asked: Asked, texts: Sequence[str], pair: tuple[str, str], *, n_best: int = 1, before: str = ""
    ) -> list[list[str]]:
        """Returns the translations of each text, best first; lines are translated one by one.

        ``before`` is the line before the first text, for a translator that reads it.

        Raises:
            RequestError: a language is not translated, or see ``translated``.
        """
        found: list[list[str]] = [[]] * len(texts)
        for served, numbers in self._groups(texts, *pair):
            lines = Lines([texts[number].split("\n") for number in numbers])
            ranked = await translated(asked, served, lines.all, n_best=n_best, context=lines.contexts(numbers, before))
            versions = [[each.text for each in one] for one in ranked]
            for number, own in zip(numbers, lines.grouped(versions), strict=True):
                found[number] = joined(own)
        return found

    async def marked(
        self, asked: Asked, documents: Sequence[Document], pair: tuple[str, str], *, n_best: int = 1
    ) -> list[list[str]]:
        """Returns the translations of each text with markup; see ``plain``."""
        texts = [block.text for document in documents for block in document.blocks]
        ranked = iter(await self.plain(asked, texts, pair, n_best=n_best) if texts else self.check(*pair))
        found = []
        for document in documents:
            own = [next(ranked) for _ in document.blocks]
            count = max(map(len, own), default=1)
            versions = [[each[min(place, len(each) - 1)] for each in own] for place in range(count)]
            found.append(await filled_in(asked, [document] * len(versions), versions))
        return found

    def check(self, source: str, target: str) -> list[Any]:
        """Refuses languages that are not translated; there is nothing to translate."""
        self._groups([""], source, target)
        return []

    def _groups(self, texts: Sequence[str], source: str, target: str) -> list[tuple[Served, list[int]]]:
        """Returns which translator takes which of the texts."""
        codes = [base(language.code) for language in sources(self.site)]
        if source != AUTO and base(source) not in codes:
            raise unsupported(source)
        if base(target) not in [base(language.code) for language in targets(self.site)]:
            raise unsupported(target)
        groups: dict[str, tuple[Served, list[int]]] = {}
        for number, text in enumerate(texts):
            served = translator_for(self.site, None if source == AUTO else source, target, text)
            if served is None:
                raise RequestError(
                    400, f"{target[:20]} is not available as a target language from {source[:20]}", param="target"
                )
            groups.setdefault(served.name, (served, []))[1].append(number)
        return list(groups.values())
