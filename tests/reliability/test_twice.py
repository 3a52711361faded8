"""Ten thousand lines translated twice, in another order, other company and by other threads: the same bit for bit."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from clearhead.decode.hypotheses import SearchConfig
from clearhead.engine.weights.file import open_model
from clearhead.tasks.translation.packed import PackedTranslator
from clearhead.tasks.translation.result import Translation
from clearhead.verbs.exports.run import Certify, export_run
from tests.native import NATIVE
from tests.toy import demo_lines

pytestmark = NATIVE
LINES = {"few": 300, "all": 10_000}


def lines_of(count: int) -> list[str]:
    """Returns lines of one sentence or two of the embedded corpus, and empty ones."""
    draw, sentences = random.Random(count), [source for source, _ in demo_lines(500)]
    return ["".join(draw.choices(sentences, k=draw.choice((0, 1, 1, 1, 2)))) for _ in range(count)]


def translated(
    translator: PackedTranslator, lines: Sequence[str], config: SearchConfig, *, at_once: int, threads: int
) -> list[list[Translation]]:
    """Returns the ranked translations of all lines, so many of which are given to the translator at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PackedTranslator, "threads", property(lambda self: threads))
        return [
            ranked
            for first in range(0, len(lines), at_once)
            for ranked in translator.n_best(lines[first : first + at_once], config)
        ]


@pytest.mark.parametrize("count", ["few", pytest.param("all", marks=pytest.mark.long)])
@pytest.mark.parametrize("quantize", ["float32", "int8"])
def test_lines_translated_twice_are_the_same(count: str, quantize: str, toy_run: Path, tmp_path: Path) -> None:
    file = tmp_path / "toy.clearhead"
    export_run(toy_run, file, target="file", quantize=quantize, certify=Certify(lines=0))
    translator, lines = PackedTranslator.of(open_model(file)), lines_of(LINES[count])
    config = SearchConfig(beam=2, n_best=2)
    first = translated(translator, lines, config, at_once=len(lines), threads=1)
    order = random.Random(1).sample(range(len(lines)), len(lines))
    again = translated(translator, [lines[at] for at in order], config, at_once=37, threads=4)
    differing = [lines[at] for at, ranked in zip(order, again, strict=True) if ranked != first[at]]
    assert differing == []
    assert len({ranked[0].text for ranked in first if ranked}) > len(lines) // 10
