"""``clearhead translate``: one line out for every line in, in order, whatever the lines are."""

import io
import json
import math
import re
import sys
from pathlib import Path

import pytest

from clearhead.tasks.translation.translator import Translator
from tests.native import FAULT
from tests.toy import PAIRS, Said, assert_one_line, clearhead, in_process


@pytest.fixture
def lines(toy_data: Path) -> list[str]:
    return (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()[:5]


def from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes, *words: object
) -> Said:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
    return clearhead(capsys, "translate", *words)


TOLD = re.compile(r"(clearhead: (text|stdin line) \d+: the length limit cut off a better ranked one; see --limit\n)*")


def said_alike(said: Said) -> Said:
    """What was said, without the warnings that a model so small earns: its endless texts have good scores."""
    assert TOLD.fullmatch(said.err), said.err
    return said._replace(err="")


def test_order_and_empty_lines_are_kept_from_every_way_in(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of any length, an empty one, one of blanks: as arguments, by stdin, by ``-``, with CRLF, in chunks.

    A byte order mark before them changes nothing.
    """
    given = [lines[0], "", *lines[1:3], "   ", lines[3][:2], lines[4]]
    said = [clearhead(capsys, "translate", toy_run, line) for line in given]
    alone = [one.out for one in said]
    assert [one.count("\n") for one in alone] == [1] * len(given)
    assert (alone[1], alone[4]) == ("\n", "   \n")
    assert all(alone[at].strip() for at in (0, 2, 3, 5, 6))
    assert len(set(alone)) == 7
    expected = Said(0, "".join(alone), "")
    assert all(TOLD.fullmatch(one.err) for one in said)
    assert said_alike(clearhead(capsys, "translate", toy_run, *given)) == expected
    plain, crlf = "\n".join(given).encode(), "\r\n".join([*given, ""]).encode()
    assert said_alike(from_stdin(monkeypatch, capsys, plain, toy_run)) == expected
    assert said_alike(from_stdin(monkeypatch, capsys, b"\xef\xbb\xbf" + plain, toy_run)) == expected
    assert said_alike(from_stdin(monkeypatch, capsys, plain + b"\n", toy_run, "-")) == expected
    assert said_alike(from_stdin(monkeypatch, capsys, crlf, toy_run, "-", "--buffer", "2")) == expected
    one = from_stdin(monkeypatch, capsys, "我\r\n".encode(), toy_run, "--json", "--beam", "1")
    assert json.loads(one.out)["source"] == "我"


def test_the_toy_corpus_is_learned(toy_run: Path, toy_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Otherwise what these tests compare would be noise."""
    sources = (toy_data / "train.zh").read_text(encoding="utf-8").splitlines()
    targets = (toy_data / "train.en").read_text(encoding="utf-8").splitlines()
    assert len(sources) == PAIRS
    said = clearhead(capsys, "translate", toy_run, *sources, "--beam", "1")
    right = sum(a == b for a, b in zip(said.out.splitlines(), targets, strict=True))
    assert right > PAIRS // 2


def test_nothing_on_stdin_gives_nothing(
    toy_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert from_stdin(monkeypatch, capsys, b"", toy_run) == Said(0, "", "")
    assert from_stdin(monkeypatch, capsys, b"\n\n", toy_run) == Said(0, "\n\n", "")


def test_a_line_that_is_not_utf8_is_named(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = f"{lines[0]}\n\n".encode() + b"ab\xff\n" + lines[1].encode()
    for extra in (["--buffer", "1"], []):
        said = from_stdin(monkeypatch, capsys, content, toy_run, *extra)
        assert_one_line(said, 3, "stdin line 3: not UTF-8 (byte 3 of the line)")
        assert said.out == clearhead(capsys, "translate", toy_run, lines[0], "", "", lines[1]).out


WAYS = [[], ["--json"], ["--n-best", "2"], ["--alternatives"], ["--alignment", "--json"]]


@pytest.mark.long_but(every=2)
@pytest.mark.parametrize("words", WAYS, ids=["-".join(words) or "plain" for words in WAYS])
def test_a_line_that_cannot_be_translated_costs_no_other_line(
    words: list[str], toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*words, "--beam", "1", "--overlong", "error"]
    alone = [clearhead(capsys, "translate", toy_run, line, *words) for line in lines[:2]]
    said = clearhead(capsys, "translate", toy_run, lines[0], "我" * 70, lines[1], *words)
    message = said.err.splitlines()[0].removeprefix("clearhead: text 2: ")
    assert (said.code, "pieces, the model takes 62" in message) == (3, True)
    source = json.dumps("我" * 70, ensure_ascii=False)
    engine = json.dumps("torch" if FAULT else "native")
    told = json.dumps(message, ensure_ascii=False)
    error = f'{{"source": {source}, "translations": [], "engine": {engine}, "error": {told}}}\n'
    assert said.out == alone[0].out + (error if "--json" in words else "\n") + alone[1].out


def test_each_sentence_of_a_line_is_translated(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    sentences = [line.rstrip("。") + "。" for line in lines[:3]]
    alone = [clearhead(capsys, "translate", toy_run, sentence).out.strip() for sentence in sentences]
    said = clearhead(capsys, "translate", toy_run, "".join(sentences))
    assert said == Said(0, " ".join(alone) + "\n", "")
    said = clearhead(capsys, "translate", toy_run, "\t{}  {} {} ".format(*sentences))
    assert said.out == "\t{}  {} {} \n".format(*alone)
    together = clearhead(capsys, "translate", toy_run, "".join(sentences), "--split", "never").out
    assert together == clearhead(capsys, "translate", toy_run, "".join(sentences), "--split", "overlong").out
    assert together.strip() != " ".join(alone)


def test_json_holds_the_whole_result(toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(capsys, "translate", toy_run, *lines[:2], "--json", "--n-best", 3, "--alignment")
    trees = [json.loads(line) for line in said.out.splitlines()]
    assert [tree["source"] for tree in trees] == lines[:2]
    assert lines[0][0] in said.out, "Chinese is written as Chinese"
    for tree in trees:
        found = tree["translations"]
        assert tree["engine"] == ("torch" if FAULT else "native")
        assert len(found) == 3
        assert [one["rank_score"] for one in found] == sorted((one["rank_score"] for one in found), reverse=True)
        assert len({tuple(one["pieces"]) for one in found}) == 3
        for one in found:
            assert set(one) == {
                "text", "score", "rank_score", "pieces", "log_probs", "source_pieces", "complete", "alignment", "parts",
                "confidence", "dropped", "unmet", "cuts", "unknown", "cut_better", "glossary", "before",
            }  # fmt: skip
            assert one["score"] == pytest.approx(math.fsum(one["log_probs"]), abs=1e-5)
            assert len(one["pieces"]) == len(one["log_probs"]) == len(one["alignment"])
            assert max(one["alignment"]) < len(one["source_pieces"])
            assert (one["pieces"][-1] == "</s>") is one["complete"]


def test_n_best_without_json_gives_rank_score_and_text(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "translate", toy_run, *lines[:2], "--n-best", "2")
    rows = [line.split("\t") for line in said.out.splitlines()]
    assert [row[0] for row in rows] == ["1", "2"] * 2
    assert all(float(row[1]) <= 0 for row in rows)
    assert rows[0][2] + "\n" == clearhead(capsys, "translate", toy_run, lines[0]).out
    narrow, wide = (clearhead(capsys, "translate", toy_run, "x", "--n-best", "3", "--beam", beam) for beam in "13")
    assert narrow == wide
    assert narrow.out.count("\n") == 3


def test_a_prefix_begins_every_translation(toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for beam in ("1", "4"):
        said = clearhead(capsys, "translate", toy_run, *lines, "--prefix", "Yesterday the", "--beam", beam)
        assert said.code == 0
        assert [line.startswith("Yesterday the") for line in said.out.splitlines()] == [True] * 5
    free = clearhead(capsys, "translate", toy_run, *lines).out
    assert "Yesterday the" not in free


def test_required_and_avoided_phrases(toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = clearhead(
        capsys, "translate", toy_run, *lines[:3], "--require", "tomorrow", "--require", "the apple", "--avoid", "The"
    )
    assert said_alike(said).code == 0
    for line in said.out.splitlines():
        words = re.findall(r"\w+", line)
        assert "tomorrow" in words
        assert "The" not in words
        assert "the apple" in line
    long = "".join(line.rstrip("。") + "。" for line in lines) * 4
    said = clearhead(capsys, "translate", toy_run, long, "--require", "tomorrow", "--json")
    (found,) = json.loads(said.out)["translations"]
    assert (said.err, found["unmet"], len(re.findall(r"\btomorrow\b", found["text"]))) == ("", [], 1)
    said = clearhead(capsys, "translate", toy_run, long, "--prefix", "Yesterday", "--beam", "1")
    assert said.out.startswith("Yesterday")
    assert said.out.count("Yesterday") == 1


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--require", ""], 2, "require '': a phrase must not be empty"),
        (["--require", "apple " * 70], 3, "leave room for the end"),
        (["--require", "an apple", "--avoid", "apple"], 3, "require 'an apple': contains a phrase to avoid"),
        (["--require", "a", "--alternatives"], 2, "--alternatives: goes with none of --require, --avoid, --glossary"),
    ],
)
def test_phrases_that_cannot_be(
    words: list[str], code: int, part: str, toy_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(clearhead(capsys, "translate", toy_run, "我", *words), code, part)


def test_alternatives_differ_in_their_first_piece(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "translate", toy_run, lines[0], "--alternatives", "--json")
    found = json.loads(said.out)["translations"]
    assert len({one["pieces"][0] for one in found}) == len(found) >= 4
    scores = [one["rank_score"] for one in found]
    assert scores == sorted(scores, reverse=True)
    best = clearhead(capsys, "translate", toy_run, lines[0]).out.strip()
    assert found[0]["text"] == best
    said = clearhead(capsys, "translate", toy_run, lines[0], "--alternatives", "--prefix", "I", "--json")
    found = json.loads(said.out)["translations"]
    assert len({one["pieces"][1] for one in found}) == len(found) >= 4
    assert {one["pieces"][0] for one in found} == {"I"}


def test_a_long_line_is_split_cut_or_refused_never_in_silence(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    long = "".join(line.rstrip("。") + "。" for line in lines) * 4
    parts = clearhead(capsys, "translate", toy_run, long, "--json")
    (found,) = json.loads(parts.out)["translations"]
    assert found["parts"] == 20
    assert len(found["text"]) > 300
    assert clearhead(capsys, "translate", toy_run, long, "--overlong", "error").code == 0, "its sentences fit"
    unbroken = clearhead(capsys, "translate", toy_run, "我" * 70)
    assert "clearhead: text 1: too long, cut 1 times inside of a clause" in unbroken.err.splitlines()
    cut = clearhead(capsys, "translate", toy_run, long, "--split", "never", "--overlong", "truncate")
    assert "pieces were left out" in cut.err
    assert cut.out.count("\n") == 1
    for words in (["--overlong", "error"], []):
        said = clearhead(capsys, "translate", toy_run, long, "--split", "never", *words)
        assert_one_line(said, 3, "the model takes 62")
        assert said.out == "\n"


def test_text_that_is_not_unicode_is_one_line_too(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An argument that is not UTF-8 reaches Python as lone surrogates."""
    assert_one_line(clearhead(capsys, "translate", toy_run, "ab\udcff"), 3)


def test_a_prefix_beyond_the_models_length_is_refused(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in ([], ["--alternatives"]):
        said = clearhead(capsys, "translate", toy_run, "我吃了苹果。", "--prefix", "apple " * 70, *extra)
        assert_one_line(said, 3, "prefix")


def test_every_line_gives_at_least_one_line_with_alternatives_too(
    toy_run: Path, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = clearhead(capsys, "translate", toy_run, "", lines[0], "--alternatives")
    assert said.out.startswith("\n1\t")


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (["--checkpoint", "step-7"], 4, ["has no checkpoint 'step-7'; it has step-"]),
        (["--device", "cuda:77"], 2, ["device 'cuda:77': not usable here"]),
        (["--device", "gpu"], 2, ["device 'gpu'"]),
        (["--bem", "3"], 2, ["No such option", "--beam"]),
        (["--beam", "0"], 2, ["--beam"]),
        (["--length-penalty", "-1"], 2, ["--length-penalty"]),
    ],
)
def test_wrong_options(
    words: list[str], code: int, parts: list[str], toy_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_one_line(clearhead(capsys, "translate", toy_run, "x", *words), code, *parts)


def test_as_a_user_runs_it(toy_run: Path, lines: list[str]) -> None:
    """In a process of its own: bytes in and out, nothing else on stdout or stderr."""
    said = in_process("translate", toy_run, stdin=f"{lines[0]}\n\n{lines[1]}".encode())
    assert (said.code, said.err) == (0, "")
    assert said.out.count("\n") == 3
    assert said.out.splitlines()[1] == ""


def test_a_run_of_several_languages_is_told_which(two_ways: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for a language that is missing, not known, or in no pair that was learned."""
    run = two_ways / "run"
    assert_one_line(clearhead(capsys, "translate", run, "我喝水。"), 2, "zh to en, en to zh; say which: --to")
    assert_one_line(clearhead(capsys, "translate", run, "--to", "fr", "我喝水。"), 2, "to = 'fr'", "into en, zh")
    assert_one_line(clearhead(capsys, "translate", run, "--to", "en", "--from", "fr", "x"), 2, "from = 'fr'")
    said = [clearhead(capsys, "translate", run, *way, "我们在家。") for way in (["--to", "en"], ["--from", "zh"])]
    assert said[0] == said[1]
    assert said[0].code == 0
    unseen = clearhead(capsys, "translate", run, "--to", "zh", "--from", "zh", "我们在家。")
    assert unseen.code == 0
    assert unseen.err.startswith("clearhead: zh to zh: the model has seen no such pair")


def test_the_only_direction_may_be_named(toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, told = (clearhead(capsys, "translate", toy_run, *way, "我喝水。") for way in ([], ["--to", "en"]))
    assert plain.out == told.out
    assert_one_line(clearhead(capsys, "translate", toy_run, "--to", "de", "我喝水。"), 2, "to = 'de'", "into en")


def test_a_glossary_is_carried_out_and_what_was_not_met_is_said(
    toy_run: Path, lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    word, path = lines[0][:2], tmp_path / "g.tsv"
    path.write_text(f"{word}\tzebra\n{lines[0][2:4]}\t{'zebra ' * 70}\nnowhere\thorse\n", encoding="utf-8")
    asked = [lines[0], "", lines[1]]
    plain = clearhead(capsys, "translate", toy_run, *asked)
    said = clearhead(capsys, "translate", toy_run, *asked, "--glossary", path)
    assert said.code == 0
    first, second, third, end = said.out.split("\n")
    assert "zebra" in first.lower()
    assert [second, third, end] == plain.out.split("\n")[1:]
    told = [line for line in said.err.splitlines() if "limit" not in line]
    assert told[0].startswith("clearhead: text 1: the translation does not contain 'zebra zebra ")
    assert told[0].endswith(f" (for {lines[0][2:4]!r})")
    assert told[1:] == ["clearhead: glossary: 1 of 2 targets in 1 lines were met"]
    said = clearhead(capsys, "translate", toy_run, *asked, "--glossary", path, "--json", "--n-best", "2")
    trees = [json.loads(line)["translations"] for line in said.out.splitlines()]
    assert [[each["glossary"] != [] for each in tree] for tree in trees] == [[True] * 2, [False], [False] * 2]
    assert trees[0][0]["glossary"][0] == [word, "zebra"]
    assert trees[0][0]["unmet"] == [trees[0][0]["glossary"][1][1]]
    nothing = clearhead(capsys, "translate", toy_run, "", "--glossary", path)
    assert nothing == Said(0, "\n", "clearhead: glossary: 0 of 0 targets in 0 lines were met\n")


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"a\tb\nc\n", "line 2: must be a source, a tab and a target; there is no tab"),
        (b"a\tb\na\tc\n", "line 2: the source 'a' has another target on line 1"),
        (b"a\t\xff\n", "line 1: not UTF-8 (byte 3 of the line)"),
    ],
)
def test_a_glossary_that_is_wrong_is_one_line(
    content: bytes, rule: str, toy_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "g.tsv"
    path.write_bytes(content)
    said = clearhead(capsys, "translate", toy_run, "我", "--glossary", path)
    assert_one_line(said, 3, f"glossary {str(path)!r}, {rule}")
    assert said.out == ""
    said = clearhead(capsys, "translate", toy_run, "我", "--glossary", path, "--alternatives")
    assert_one_line(said, 2, "--alternatives: goes with none of --require, --avoid, --glossary and --limit")


@pytest.mark.parametrize("size", [1, 2, 256])
def test_the_line_before_counts_whatever_is_read_at_a_time(
    size: int, stories: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (stories / "test.zh").read_text(encoding="utf-8")
    wanted = [each.text for each in Translator.load(stories / "run", device="cpu").translate(text.split("\n")[:-1])]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    said = clearhead(capsys, "translate", stories / "run", "--buffer", size)
    assert said.out.split("\n")[:-1] == wanted
    said = clearhead(capsys, "translate", stories / "run", "--buffer", size, "--input", stories / "test.zh", "--json")
    trees = [json.loads(line) for line in said.out.splitlines()]
    assert [tree["translations"][0]["text"] if tree["source"] else "" for tree in trees] == wanted
    assert trees[1]["translations"][0]["before"] > 0


def test_what_stands_before_the_first_line(stories: Path, toy_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stories / "run"
    assert clearhead(capsys, "translate", run, "它跑了。", "--context", "马来了。").out == "the horse runs.\n"
    assert clearhead(capsys, "translate", run, "狗来了。", "它跑了。").out.splitlines()[1] == "the dog runs."
    said = clearhead(capsys, "translate", run, "--alternatives", "狗来了。", "它跑了。", "--context", "马来了。")
    assert "1\t" in said.out
    assert "the dog runs." in said.out
    assert_one_line(clearhead(capsys, "translate", toy_run, "我", "--context", "x"), 2, "context: the model reads none")
    said = clearhead(capsys, "translate", run, "--format", "txt", "a.txt", "--context", "x")
    assert_one_line(said, 2, "--format: goes with none of", "--context")
    traced = clearhead(capsys, "trace", run, "它跑了。", "--context", "马来了。", "--json")
    assert "<ctx>" in [each["piece"] for each in json.loads(traced.out)["source"]]
    assert_one_line(clearhead(capsys, "trace", toy_run, "我", "--context", "x"), 2, "context: the model reads none")


def test_a_line_that_is_no_text_stands_before_none(
    stories: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n" + "它跑了。\n".encode())))
    said = clearhead(capsys, "translate", stories / "run")
    assert said.code == 3
    alone = clearhead(capsys, "translate", stories / "run", "它跑了。")
    assert said.out == f"\n{alone.out}"
