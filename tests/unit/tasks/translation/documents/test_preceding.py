"""What stands before a text: by hand, and as a translator reads it that was trained so; no other text counts."""

from pathlib import Path
from typing import Any

import pytest

from clearhead.decode.hypotheses import SearchConfig
from clearhead.documents.blocks import Block
from clearhead.documents.words import spans
from clearhead.engine.loops.sampling import SamplingConfig
from clearhead.errors import UsageError
from clearhead.tasks.translation.corpora.sides import Sides
from clearhead.tasks.translation.documents.facing import facing
from clearhead.tasks.translation.documents.preceding import before_each, last_line, parted, preceding, read_before
from clearhead.tasks.translation.documents.translating import _Placing, translate_document
from clearhead.tasks.translation.scoring import translation_evidence
from clearhead.tasks.translation.translator import Translator
from clearhead.text.division import divide
from clearhead.text.language import read_language
from clearhead.verbs.exports.run import Certify, export_run
from clearhead.verbs.quick import open_translator
from tests.native import NATIVE
from tests.stories import LINES, RAN, WHERE, lines_of


@pytest.fixture(scope="module")
def translator(stories: Path) -> Translator:
    return Translator.load(stories / "run", device="cpu")


# ---------------------------------------------------------------------------------------------------------- by hand


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        ("a", "a"),
        ("a\nb", "b"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", ""),
        ("a\n \t", ""),
        (" a \nb ", "b"),
    ],
)
def test_the_last_line_of_a_text(text: str, line: str) -> None:
    assert last_line(text) == line


@pytest.mark.parametrize(
    ("text", "before", "found"),
    [
        ("Ab.", "", [""]),
        ("Ab.", "Zz. Yy.", ["Zz. Yy."]),
        ("Ab. Cd.", "Zz.", ["Zz.", "Ab."]),
        ("Ab. Cd.\nEf.", "Zz.", ["Zz.", "Ab.", "Ab. Cd."]),
        ("Ab.\n\nCd.", "Zz.", ["Zz.", ""]),
        ("Ab.\n \nCd.", "Zz.", ["Zz.", ""]),
        ("\nAb.", "Zz.", [""]),
        ("  Ab.", "Zz.", ["Zz."]),
        ("Ab.\r\nCd.", "", ["", "Ab."]),
        ("", "Zz.", []),
    ],
)
def test_what_stands_before_each_part(text: str, before: str, found: list[str]) -> None:
    division = divide(
        text, lambda some: [*some.encode()], limit=99, language=read_language("en"), split="sentences", overlong="split"
    )
    assert preceding(text, division, before) == found


def test_parts_of_several_lines_have_the_line_before_them() -> None:
    """A text that is not divided at its lines, with one behind it that is."""
    own: Any = {"limit": 4, "language": read_language("en"), "overlong": "split"}
    division = divide("a b c\nd", lambda some: [len(word) for word in some.split()], split="overlong", **own)
    assert [part.text for part in division.parts] == ["a b c\nd"]
    assert preceding("a b c\nd", division, "z\ny") == ["y"]


def test_each_text_stands_before_the_next() -> None:
    languages = read_language("zh"), read_language("en")
    sides, none = Sides(*languages, 9, 12, context=4), Sides(*languages, 9, 12)
    assert before_each(["a", "b", "c"], "z", sides) == ["z", "a", "b"]
    assert before_each(["a", "b"], ["x", ""], sides) == ["x", ""]
    assert before_each([], "z", sides) == []
    assert before_each(["a", "b"], "", none) == before_each(["a", "b"], ["", ""], none) == ["", ""]
    with pytest.raises(UsageError, match="context: 1 for 2 texts; must be one for each, or a str"):
        before_each(["a", "b"], ["x"], sides)
    for given in ("x", ["", "x"]):
        with pytest.raises(UsageError, match=r"context: the model reads none, it was trained with data.context = 0"):
            before_each(["a", "b"], given, none)


def test_a_tab_parts_a_text_from_what_stands_before_it() -> None:
    languages = read_language("zh"), read_language("en")
    reading, none = Sides(*languages, 9, 12, context=4), Sides(*languages, 9, 12)
    assert parted("a\tb", reading) == ("a", "b")
    assert parted("ab", reading) == ("", "ab")
    assert parted("a\tb", none) == ("", "a\tb")


def test_what_cannot_be_read_is_not(translator: Translator) -> None:
    sides, tokenizer = translator.sides, translator.tokenizers.src
    assert read_before("a\udcff", 2, sides, tokenizer) == []
    assert read_before("狗来了。", 0, sides, tokenizer) == []
    assert read_before("狗来了。", sides.longest - 1, sides, tokenizer) == []
    last = tokenizer.encode("狗来了。")[-1]
    assert read_before("狗来了。", sides.longest - 2, sides, tokenizer) == [last, sides.context]


# --------------------------------------------------------------------------------------------------- what it is for


def test_the_line_before_says_what_a_word_means(translator: Translator, stories: Path) -> None:
    """Who ``它`` is says the line before alone, in documents that were in no training text."""
    lines, wanted = (lines_of(stories, "test", side) for side in ("zh", "en"))
    made = [each.text for each in translator.translate(lines)]
    second = [number for number, line in enumerate(lines) if line.startswith("它")]
    assert len(second) == 8
    assert sum(made[number] == wanted[number] for number in second) >= 7
    assert [translator.translate(RAN, context=f"{who}来了。").text for who in "狗马"] == [
        "the dog runs.",
        "the horse runs.",
    ]


def test_alone_as_in_company(translator: Translator) -> None:
    """Only the line before counts: order, other texts and how many are translated together do not."""
    together = translator.translate(LINES)
    contexts = ["", *LINES[:-1]]
    alone = [translator.translate(line, context=before) for line, before in zip(LINES, contexts, strict=True)]
    assert [each.pieces for each in alone] == [each.pieces for each in together]
    assert [each.source_ids for each in alone] == [each.source_ids for each in together]
    assert [each.score for each in alone] == pytest.approx([each.score for each in together], abs=1e-4)
    order = [4, 1, 0, 5, 3, 2]
    mixed = translator.translate([LINES[at] for at in order], context=[contexts[at] for at in order])
    assert [each.pieces for each in mixed] == [together[at].pieces for at in order]


def test_the_first_line_is_the_line_alone(translator: Translator) -> None:
    mark = translator.sides.context
    first, second, _, third, fourth, _ = translator.translate(LINES)
    for line, found in ((LINES[0], first), (LINES[3], third)):
        assert found.source_ids == translator.tokenizers.src.encode(line)
        assert found == translator.translate(line)
        assert found.before == 0
    for before, line, found in ((LINES[0], LINES[1], second), (LINES[3], LINES[4], fourth)):
        own, read = (translator.tokenizers.src.encode(text) for text in (line, before))
        assert found.source_ids == [*read, mark, *own]
        assert found.source_pieces[found.before - 1] == "<ctx>"
        assert found.before == len(read) + 1


def test_a_file_that_is_cut_at_a_blank_line_is_the_whole(translator: Translator) -> None:
    whole = translator.translate(LINES)
    assert whole == translator.translate(LINES[:3]) + translator.translate(LINES[3:])
    assert whole[1:] != translator.translate(LINES[1:]), "elsewhere it is not"


def test_a_text_of_several_lines_is_its_lines(translator: Translator) -> None:
    one = translator.translate("\n".join(LINES))
    assert one.text == "\n".join(each.text for each in translator.translate(LINES))
    parts = [each.source_ids for each in translator.translate(LINES) if each.source_ids]
    assert [part.source_ids for part in one.of_parts] == parts
    assert one.before == sum(part.before for part in one.of_parts)
    both = translator.translate("狗来了。它跑了。")
    assert both.of_parts[1].source_ids == translator.translate(RAN, context="狗来了。").source_ids


def test_with_lines_as_a_file_has_them(translator: Translator) -> None:
    ended = [f"{line}\n" for line in LINES]
    assert [each.source_ids for each in translator.translate(ended)] == [
        each.source_ids for each in translator.translate(LINES)
    ]


def test_lengths_and_unknown_pieces_are_of_the_line_alone(translator: Translator) -> None:
    long = "狗来了。" * 20
    near, far = (translator.translate(RAN, context=context) for context in ("狗来了。", long))
    assert far.before == translator.sides.longest - len(translator.tokenizers.src.encode(RAN))
    assert translator.sides.alone(far.source_ids) == translator.sides.alone(near.source_ids)
    seen: list[Any] = []
    for context in ("", "狗来了。", long):
        searching = translator.translating([RAN], SearchConfig(2), context=context)
        ((batch, _),) = next(searching)
        seen.append(batch.limits)
    assert seen[0] == seen[1] == seen[2]
    assert translator.translate(RAN, context="龘龘").unknown == 0


def test_a_sentence_above_the_limit_is_divided_as_if_nothing_stood_before_it(translator: Translator) -> None:
    long = "狗来了，" * 20 + "。"
    alone, behind = translator.translate(long), translator.translate(long, context="马吃了。")
    assert alone.parts == behind.parts > 1
    own = [[translator.sides.alone(part.source_ids) for part in each.of_parts] for each in (alone, behind)]
    assert own[0] == own[1]
    assert all(len(part.source_ids) <= translator.sides.longest for part in behind.of_parts)


@NATIVE
def test_the_engine_translates_as_pytorch_does(stories: Path) -> None:
    found = [Translator.load(stories / "run", device="cpu", engine=engine) for engine in ("native", "torch")]  # type: ignore[arg-type]
    lines = lines_of(stories, "test", "zh")
    native, by_torch = (each.translate(lines, beam=3) for each in found)
    assert [each.pieces for each in native] == [each.pieces for each in by_torch]
    assert [each.score for each in native] == pytest.approx([each.score for each in by_torch], abs=1e-3)
    drawn = [each.sample(lines, SamplingConfig(seed=3)) for each in found]
    assert [each.pieces for each in drawn[0]] == [each.pieces for each in drawn[1]]
    assert drawn[0][1].before > 0


@NATIVE
def test_a_file_reads_the_line_before_too(stories: Path, tmp_path: Path, translator: Translator) -> None:
    export_run(stories / "run", tmp_path / "it.clearhead", target="file")
    packed = open_translator(tmp_path / "it.clearhead", **WHERE)
    assert type(packed).__name__ == "PackedTranslator"
    assert packed.sides == translator.sides
    lines = lines_of(stories, "test", "zh")
    assert packed.translate(lines) == translator.translate(lines)


@pytest.mark.parametrize("target", ["hf", "ctranslate2"])
def test_other_runtimes_compute_the_same_of_the_same_pieces(
    target: Any, stories: Path, tmp_path: Path, translator: Translator
) -> None:
    """The certificate is over lines as the model reads them: those behind others with what stands before them."""
    pytest.importorskip("transformers" if target == "hf" else target, reason=f"{target} is not installed: it runs here")
    said: list[str] = []
    certify = Certify(data=stories, lines=6)
    export_run(stories / "run", tmp_path / "out", target=target, certify=certify, note=said.append)
    assert "greedy" in said[-1], said
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "the pieces of that one, the piece <ctx>, the line's own" in card
    rows, mark = translation_evidence(translator, stories, 6).rows, translator.sides.context
    assert [mark in row.ids for row in rows] == [False, True, False, True]
    second = translator.tokenizers.src.encode(lines_of(stories, "valid", "zh")[1])
    assert translator.sides.alone(rows[1].ids[:-1]) == second


def test_views_show_what_is_read(translator: Translator) -> None:
    pieces = translator.translate(RAN, context="狗来了。").source_pieces
    assert translator.trace(RAN, context="狗来了。").source_pieces == pieces
    ids, tree = translator.beam_tree(RAN, SearchConfig(2), context="狗来了。")
    assert ids == translator.translate(RAN, context="狗来了。").source_ids
    assert tree is not None
    first = translator.alternatives(RAN, 2, context="狗来了。")[0]
    assert first.text == "the dog runs."
    aligned = translator.translate(RAN, context="狗来了。", alignment=True)
    assert aligned.alignment is not None
    # the animal is in the line before, and the attention is there
    assert aligned.alignment[1] < aligned.before
    alone = translator.tokenizers.src.encode(RAN)
    assert translator.trace(RAN).source_ids == [*alone, translator.tokenizers.src.ids.eos]


def test_a_block_has_the_block_before_it(translator: Translator) -> None:
    text = "# 狗来了。\n\n```\n马来了。\n```\n\n**它**跑了。\n\n- 它睡了。\n"
    made = translate_document(translator, text, "md", SearchConfig(2))
    lines = translator.translate(["狗来了。", "它跑了。", "它睡了。"])
    assert [each and each.text for each in made.translations] == [each.text for each in lines]
    assert made.blocks == ["狗来了。", "它跑了。", "它睡了。"]
    assert made.text.startswith("# the dog comes.\n\n```\n马来了。\n```\n\n")
    assert made.text.replace("*", "").splitlines()[6] == "the dog runs."
    plain = translate_document(translator, "狗来了。\n\n它跑了。\n", "txt", SearchConfig(2))
    assert plain.text == "the dog comes.\n\nthe dog runs.\n", "a document has paragraphs: the one before counts"


def test_marks_stand_around_words_of_the_block_itself(translator: Translator) -> None:
    """By attention to its own pieces, counted from its own first one."""
    text = "狗来了。\n\n它**跑了**。\n"
    part = translator.translate(RAN, context=text.split("\n", maxsplit=1)[0], alignment=True)
    assert part.before == 3
    tokenizer = translator.tokenizers.src
    own = tokenizer.decode(part.source_ids[part.before :])
    assert own == RAN
    sides = facing(part, translator)
    assert (sides.source, sides.places) == (RAN, spans(tokenizer.encode(RAN), tokenizer.decode))
    links = _Placing(translator)._links(Block(RAN, RAN), part)
    assert links is not None
    assert all(0 <= middle < len(RAN) for link in links for middle in link.sources)
    runs = next(link for link in links if part.text[link.begin : link.end] == "runs")
    assert runs.sources, "it comes from the line itself"
    assert [word for word in sides.words if part.text[word.start : word.end] == "dog"]
    assert not next(link for link in links if part.text[link.begin : link.end] == "dog").sources
    assert translate_document(translator, text, "md", SearchConfig(2)).text.count("**") == 2


def test_a_document_of_many_blocks_is_as_one(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    from clearhead.tasks.translation.documents import translating

    text = "\n\n".join(line for line in LINES * 3 if line)
    whole = translate_document(translator, text, "txt", SearchConfig(2)).text
    monkeypatch.setattr(translating, "AT_ONCE", 2)
    assert translate_document(translator, text, "txt", SearchConfig(2)).text == whole
