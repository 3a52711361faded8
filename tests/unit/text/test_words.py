"""Where words begin and end, by pieces of every kind."""

from typing import Any

import pytest

from clearhead.text.tokenizer import Tokenizer, TokenizerConfig
from clearhead.text.words import word_borders

TEXT = "The lobsters, unprepared (known) aren't 我吃了一个苹果。 Ａb 我abc def"


def words(tokenizer: Tokenizer, text: str) -> list[str]:
    """Groups pieces as the borders say."""
    begins, ends = word_borders(tokenizer)
    ids = tokenizer.encode(text)
    groups: list[list[int]] = []
    for at, index in enumerate(ids):
        if at == 0 or begins[index] or ends[ids[at - 1]]:
            groups.append([])
        groups[-1].append(index)
    return [word for group in groups if (word := tokenizer.decode(group).replace("##", "").strip())]


EXPECTED = "The lobsters , unprepared ( known ) aren ' t 我 吃 了 一 个 苹 果 。 Ａb 我 abc def".split()


@pytest.mark.parametrize("kind", ["char", "byte_bpe", "bpe", "unigram", "wordpiece"])
def test_words_are_the_same_for_every_kind(kind: Any) -> None:
    # a small vocabulary: words are in parts, Chinese characters alone
    letters = " ".join(sorted(set(TEXT)))
    config = TokenizerConfig(kind=kind, vocab_size=300, min_frequency=1)
    tokenizer = Tokenizer.train(["the lob known pre", letters], config)
    assert len(tokenizer.encode("unprepared")) > 1
    cut = words(tokenizer, TEXT)
    if kind == "byte_bpe":  # behind a character in several pieces of bytes no border is seen
        assert cut == " ".join(EXPECTED).replace("我 abc", "我abc").split()
    else:
        assert cut == EXPECTED


def test_a_piece_of_several_characters_is_a_word() -> None:
    config = TokenizerConfig(kind="byte_bpe", vocab_size=400)
    tokenizer = Tokenizer.train(["苹果 好 abc"] * 9, config)
    assert words(tokenizer, "苹果abc好 苹果苹果") == ["苹果", "abc", "好", "苹果", "苹果"]
    begins, ends = word_borders(tokenizer)
    for index in (tokenizer.ids.pad, tokenizer.ids.unk):
        assert not begins[index]
        assert not ends[index]
