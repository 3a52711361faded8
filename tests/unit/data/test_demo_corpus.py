"""The demo corpus: its size, its splits, and that its English is right and follows from the Chinese."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import resources
from itertools import chain
from pathlib import Path

import pytest

from clearhead.data.demo_corpus import SHOWCASE, DemoCorpus, demo_pairs, write_demo_corpus

CHINESE = re.compile(r"[\u4e00-\u9fff]+")
# Read by a person, one or more for each construction of the grammar.
GOLDEN = """
玛丽买了两个小芒果|Mary bought two small mangoes
昨天晚上小红没买米饭|Last night Xiaohong didn't buy any rice
玛丽洗过这种香蕉吗|Has Mary washed this kind of banana
他哥哥洗过那条裤子吗|Has his older brother washed that pair of pants
她没在买那些电脑|She isn't buying those computers
他们在跑步|They are running
你会做饭吗|Can you cook
他们星期四会去图书馆|They will go to the library on Thursday
下个星期我妈妈会去机场|Next week my mother will go to the airport
他们不想喂那只狼|They don't want to feed that wolf
她想坐飞机去意大利|She wants to go to Italy by plane
我不能切那些香蕉|I can't cut those bananas
你应该打开那些门|You should open those doors
谁切了这个西红柿|Who cut this tomato
你昨天买了什么|What did you buy yesterday
他们要去哪儿|Where are they going
你弟弟为什么没买那条裤子|Why didn't your younger brother buy that pair of pants
她有几双鞋|How many pairs of shoes does she have
我比玛丽年轻|I am younger than Mary
她喜欢跑步|She likes running
你从不吃鸡蛋|You never eat eggs
农民每天坐地铁去咖啡馆|The farmer goes to the coffee shop by subway every day
杰克不是一个老师|Jack isn't a teacher
他想当一个诚实的老师|He wants to be an honest teacher
你用了十把有用的刀|You used ten useful knives
我女儿在买很多茶|My daughter is buying a lot of tea
请给我们一些茶|Please give us some tea
请不要穿那双鞋|Please don't wear that pair of shoes
小红的桌子太贵了|Xiaohong's table is too expensive
那双鞋是蓝色的|That pair of shoes is blue
这条鱼比那条大|This fish is bigger than that one
这张桌子多少钱|How much is this table
你已经吃晚饭了吗|Have you already had dinner
英国的夏天不冷|Summer in England isn't cold
明天会下雪吗|Will it snow tomorrow
大卫十五岁|David is fifteen years old
"""
VOWEL_BUT_A, CONSONANT_BUT_AN = ("useful",), ("honest",)


def words(sentence: str) -> list[str]:
    return [word.strip(".?").lower() for word in sentence.split()]


def bare(sentence: str) -> str:
    return sentence.rstrip("。？.?")


def chinese_words() -> set[str]:
    """All words of the lexicon's entries and patterns."""
    text = resources.files("clearhead.data").joinpath("demo_lexicon.toml").read_text(encoding="utf-8")
    assert tomllib.loads(text)
    return set(CHINESE.findall(text))


MAKE = """
import dataclasses, json, sys
from clearhead.data.demo_corpus import demo_corpus, demo_pairs
made = [dataclasses.asdict(demo_corpus(seed)) for seed in (0, 1)], list(demo_pairs(30_000, 7))
json.dump(made, sys.stdout)
"""


@pytest.fixture(scope="module")
def made() -> tuple[list[DemoCorpus], list[tuple[str, str]]]:
    # In another process: without checked annotations it is ten times faster, and its hash seed is another one.
    out = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, check=True).stdout
    corpora, stream = json.loads(out)
    splits = [{name: [tuple(pair) for pair in pairs] for name, pairs in corpus.items()} for corpus in corpora]
    return [DemoCorpus(**split) for split in splits], [tuple(pair) for pair in stream]


@pytest.fixture(scope="module")
def corpora(made) -> list[DemoCorpus]:
    return made[0]


@pytest.fixture(scope="module")
def corpus(made) -> DemoCorpus:
    return made[0][0]


@pytest.fixture(scope="module")
def stream(made) -> list[tuple[str, str]]:
    return made[1]


def test_sizes(corpus):
    assert [len(corpus.train), len(corpus.valid), len(corpus.test)] == [24_000, 500, 500]
    everything = corpus.train + corpus.valid + corpus.test
    assert len(set(everything)) == len(everything)
    assert len({word for _, en in corpus.train for word in words(en)}) >= 400
    said = "\n".join(zh for zh, _ in corpus.train)
    assert sum(word in said for word in chinese_words()) >= 400


def test_sentences_are_short(corpus):
    assert 4 <= sum(len(zh) for zh, _ in corpus.train) / len(corpus.train) <= 14
    assert max(len(zh) for zh, _ in corpus.train) <= 24
    assert max(len(en.split()) for _, en in corpus.train) <= 16


def test_is_the_same_everywhere(corpus, corpora, stream):
    text = "\n".join(chain.from_iterable(corpus.train + corpus.valid + corpus.test))
    assert (
        hashlib.sha256(text.encode()).hexdigest() == "550bd095a30e851bb67c70d73dd3e1c815eaa520b10b14b63f323ad9983ab051"
    )
    assert corpora[1].train != corpus.train
    assert list(demo_pairs(100, 7)) == stream[:100]


def test_no_sentence_of_one_split_is_in_another(corpus):
    for side in (0, 1):
        train, valid, test = ({bare(pair[side]) for pair in s} for s in (corpus.train, corpus.valid, corpus.test))
        assert not train & valid
        assert not train & test
        assert not valid & test


def test_showcase_is_tested_and_never_trained(corpora):
    for corpus in corpora:
        assert set(SHOWCASE) <= set(corpus.test)
        seen = {bare(text) for pair in corpus.train + corpus.valid for text in pair}
        assert not seen & {"我吃了一个苹果", "I ate an apple"}


def test_every_held_out_word_was_trained_on(corpora):
    for corpus in corpora:
        characters = Counter(chain.from_iterable(zh for zh, _ in corpus.train))
        english = Counter(word for _, en in corpus.train for word in words(en))
        for zh, en in corpus.valid + corpus.test:
            assert min(characters[character] for character in zh) >= 5, zh
            assert min(english[word] for word in words(en)) >= 5, en


def test_english_is_a_function_of_chinese(stream):
    meanings: dict[str, str] = {}
    for zh, en in stream:
        assert meanings.setdefault(bare(zh), bare(en)) == bare(en), zh


def test_punctuation_agrees(stream):
    marks = Counter((zh[-1] if zh[-1] in "。？" else "", en[-1] if en[-1] in ".?" else "") for zh, en in stream)
    assert set(marks) == {("。", "."), ("？", "?"), ("", "")}
    assert 0.13 < marks["", ""] / len(stream) < 0.17


def test_article_goes_by_sound(stream):
    after = re.compile(r"\b([Aa]n?) (\w+)")
    counts = Counter((article.lower(), noun) for _, en in stream for article, noun in after.findall(en))
    assert {("a", "useful"), ("an", "honest"), ("an", "apple"), ("an", "old"), ("a", "big")} <= set(counts)
    for article, word in counts:
        vowel = (word[0] in "aeiou" and word not in VOWEL_BUT_A) or word in CONSONANT_BUT_AN
        assert article == ("an" if vowel else "a"), word


def test_subject_and_verb_agree(stream):
    one, many = "He|She|It|Tom|My mother", "I|You|We|They"
    wrong = re.compile(
        rf"^({one}) (are|have|do|don't|like|want|live)\b|^({many}) (is|has|does|doesn't|likes|wants)\b"
        r"|^I are|^(You|We|They) (am|was)\b|^There is (two|three|some \w+s )|^There are an? (?!lot)"
        r"|\b(this|that|an?) \w+(ples|oks|cats|dogs)\b|\b(these|those|two|three) \w+(ple|ook|cat|dog)\b"
    )
    past = re.compile(r"\b(?:didn't|doesn't|don't|won't|can't|must|should) (ate|ran|bought|saw|wore|\w+ked|is|has)\b")
    for _, en in stream:
        assert not wrong.search(en), en
        assert not past.search(en), en


def test_english_is_clean(stream):
    for zh, en in stream:
        assert re.fullmatch(r"[A-Z][A-Za-z']*( [A-Za-z']+)*[.?]?", en), en
        assert re.fullmatch(r"[\u4e00-\u9fff]+[。？]?", zh), zh
        assert not re.search(r"\b(\w+) \1\b", en), en


def test_golden_pairs(stream):
    english = {bare(zh): bare(en) for zh, en in stream}
    golden = dict(line.split("|") for line in GOLDEN.split("\n") if line)
    assert {zh: english.get(zh) for zh in golden} == golden


def test_written_files(tmp_path: Path, corpus, monkeypatch):
    monkeypatch.setattr("clearhead.data.demo_corpus.demo_corpus", lambda seed: corpus)
    write_demo_corpus(tmp_path / "demo")
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == sorted(
        f"{split}.{language}" for split in ("train", "valid", "test") for language in ("zh", "en")
    )
    for split, pairs in (("train", corpus.train), ("valid", corpus.valid), ("test", corpus.test)):
        for side, language in enumerate(("zh", "en")):
            lines = (tmp_path / "demo" / f"{split}.{language}").read_bytes().decode().split("\n")
            assert lines == [pair[side] for pair in pairs] + [""]
