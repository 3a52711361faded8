"""A shortlist names the pieces that may translate a source; a file that is no shortlist of the run is one line."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clearhead.errors import ModelError
from clearhead.runs.text_parts import Tokenizers
from clearhead.tasks.translation.search import shortlist as module
from clearhead.tasks.translation.search.shortlist import FILE, Shortlist, read_shortlist, restored, wanted
from clearhead.text.tokenizer import Tokenizer, TokenizerConfig


def tokenizer(words: str) -> Tokenizer:
    return Tokenizer.train([words], TokenizerConfig(kind="char", min_frequency=1))


BOTH = Tokenizers(tokenizer("ab"), tokenizer("vwxyz"))  # the source has pieces 4 and 5, the target 4 to 8
LISTS = Shortlist(
    np.array([7, 5, 6, 8], np.int32), np.array([0, 0, 0, 0, 2, 4], np.int64), np.array([2, 4], np.int32), 9
)


def test_a_source_has_the_pieces_of_all_of_its_own() -> None:
    sources = [[4], [5, 4, 5], [0], [], [4]]
    expected = [[2, 4, 5, 7], [2, 4, 5, 6, 7, 8], [2, 4], [2, 4], [2, 4, 5, 7]]
    assert [pieces.tolist() for pieces in LISTS.choose(sources)] == expected
    assert [pieces.tolist() for source in sources for pieces in LISTS.choose([source])] == expected
    assert {pieces.dtype for pieces in LISTS.choose(sources)} == {np.dtype(np.int32)}
    assert [pieces.tolist() for pieces in LISTS.choose([[4], [5]], [[8, 4], []])] == [[2, 4, 5, 7, 8], [2, 4, 6, 8]]
    assert LISTS.choose([]) == []


def test_many_sources_are_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    sources, also = [[4], [5, 4], [0], [], [5]], [[8], [], [4, 8], [6], []]
    expected = [pieces.tolist() for pieces in LISTS.choose(sources, also)]
    monkeypatch.setattr(module, "AT_ONCE", 2)
    assert [pieces.tolist() for pieces in LISTS.choose(sources, also)] == expected


def test_a_run_keeps_it(tmp_path: Path) -> None:
    assert read_shortlist(tmp_path, BOTH) is None
    with pytest.raises(ModelError, match=re.escape(f"{str(tmp_path)!r} has no shortlist: `clearhead shortlist RUN")):
        wanted(None, tmp_path)
    LISTS.save(tmp_path)
    LISTS.save(tmp_path)
    found = read_shortlist(tmp_path, BOTH)
    assert found is not None
    assert wanted(found, tmp_path) is found
    for source in ([4], [5], [4, 5], [3]):
        assert found.choose([source])[0].tolist() == LISTS.choose([source])[0].tolist()
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert found.content() == LISTS.content()
    with pytest.raises(ModelError, match="cannot be written"):
        LISTS.save(tmp_path / "nowhere")


def packed(**changes: Any) -> bytes:
    arrays = {"likely": LISTS.likely, "ends": LISTS.ends, "always": LISTS.always, "sizes": np.array([9])}
    stream = io.BytesIO()
    np.savez(stream, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a zip"),
        (LISTS.content()[:-30], "not a zip"),
        (packed(always=None), "always"),
        (packed(sizes=np.array([10])), r"for 6 source pieces and \[10\] target pieces, not 6 and 9"),
        (packed(sizes=np.array([9, 9])), r"for 6 source pieces and \[9, 9\] target pieces"),
        (packed(ends=LISTS.ends[:5]), "for 5 source pieces"),
        (packed(ends=np.array([0, 0, 0, 3, 2, 4])), "do not follow one another"),
        (packed(ends=np.array([0, 0, 0, 0, 2, 5])), "do not follow one another"),
        (packed(ends=np.array([0, 0, 0, -1, 2, 4])), "do not follow one another"),
        (packed(likely=np.array([7, 5, 6, 9])), "its pieces are not from 0 to 8"),
        (packed(always=np.array([-1])), "its pieces are not from 0 to 8"),
        (packed(always=np.array([], np.int32)), "its pieces are not from 0 to 8"),
        (packed(likely=np.array([1.0])), "likely is no list of whole numbers"),
        (packed(always=np.array([[2]])), "always is no list of whole numbers"),
        (packed(always=np.array([None], object)), "allow_pickle"),
    ],
)
def test_a_damaged_file_is_one_line(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelError, match=reason) as error:
        read_shortlist(tmp_path, BOTH)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("`clearhead shortlist RUN --data DIR` learns one")


def test_every_byte_counts() -> None:
    """A file with a wrong byte is refused, or holds the same lists: parts of a zip are checked, its frame is not."""
    whole = LISTS.content()
    refused = 0
    for at in range(0, len(whole), 3):
        changed = bytes([*whole[:at], whole[at] ^ 0x11, *whole[at + 1 :]])
        try:
            found = restored(changed, Path("x"), BOTH)
        except ModelError:
            refused += 1
            continue
        assert found.choose([[4, 5]])[0].tolist() == LISTS.choose([[4, 5]])[0].tolist()
    assert refused > len(whole) / 6


def test_a_file_may_not_claim_to_be_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_UNPACKED", 100)
    with pytest.raises(ModelError, match="more than 100 bytes"):
        restored(LISTS.content(), Path("x"), BOTH)


def test_what_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    with pytest.raises(ModelError, match=r"shortlist\.npz' cannot be read: not a file$"):
        read_shortlist(tmp_path, BOTH)
