"""The rules of a translator's search: which there are, and that they leave what may come."""

import torch

from clearhead.tasks.translation.search.search_rules import never, phrase_constraints, search_rules
from clearhead.text.phrase_book import PhraseBook
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

CPU, LINES = torch.device("cpu"), ["an apple 苹果", "an apple 苹果"]
BYTES = Tokenizer.train(LINES, TokenizerConfig(vocab_size=270))
CHARS = Tokenizer.train(LINES, TokenizerConfig(kind="char", vocab_size=60))


def left(tokenizer: Tokenizer, ids: list[int], **settings: object) -> set[int]:
    scores = torch.zeros(1, 1, tokenizer.vocab_size)
    for rule in search_rules(tokenizer, limits=[20], device=CPU, **settings):
        rule(scores, torch.tensor(ids, dtype=torch.long)[None, None], torch.tensor([0]))
    return set(scores[0, 0].isfinite().nonzero()[:, 0].tolist())


def test_special_pieces_never_come() -> None:
    assert never(CHARS) == [0, 1, 3]
    tagged = Tokenizer.train(LINES, TokenizerConfig(vocab_size=270, tags=("de", "en")))
    assert never(tagged) == [0, 1, 3, 4, 5]
    assert left(CHARS, []) == set(range(CHARS.vocab_size)) - {0, 1, 3}


def test_a_character_is_finished_before_anything_else() -> None:
    first, second, *_ = (next(i for i in range(270) if BYTES.spelling(i) == bytes([byte])) for byte in "苹".encode())
    assert BYTES.ids.eos in left(BYTES, [])
    assert second not in left(BYTES, [])
    inside = left(BYTES, [first])
    assert second in inside
    assert BYTES.ids.eos not in inside
    assert {BYTES.spelling(piece)[0] >> 6 for piece in inside} == {0b10}


def test_prefix_and_phrases() -> None:
    apple = CHARS.encode("apple")
    assert left(CHARS, apple[:2], prefixes=[apple]) == {apple[2]}
    book = PhraseBook(CHARS)
    (demand,) = book.demands(["an"], ["apple"], count=1, prefix="", room=9)
    assert apple[4] not in left(CHARS, apple[:4], demands=[demand])
    assert phrase_constraints([demand], eos_id=2, device=CPU) is not None
    (free,) = book.demands([], ["apple"], count=1, prefix="", room=9)
    assert phrase_constraints([free], eos_id=2, device=CPU) is None
