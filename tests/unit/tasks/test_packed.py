"""A run is packed once; later uses map the file, a damaged one is made anew, and without a place memory will do."""

from pathlib import Path

import pytest

from clearhead.engine.rows import NativeModel
from clearhead.tasks import packed
from clearhead.tasks.packed import kept, kept_path
from clearhead.tasks.translation.translator import Translator
from tests.native import NATIVE

pytestmark = NATIVE


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "cache"))


def text_of(run: Path) -> str:
    translator = Translator.load(run, device="cpu")
    assert isinstance(translator.writer, NativeModel)
    return translator.translate("我吃了一个苹果。").text


def test_a_run_is_packed_once_and_anew_where_its_file_is_damaged(
    toy_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, whole = [], packed.write_model
    monkeypatch.setattr(packed, "write_model", lambda *a: written.append(a[0]) or whole(*a))
    assert kept(toy_run, "best", "float32") is None
    texts = [text_of(toy_run), text_of(toy_run)]
    file = kept(toy_run, "best", "float32")
    assert file is not None
    assert (file.path, kept(toy_run, "best", "int8")) == (written[0], None)
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-1000])
    assert kept(toy_run, "best", "float32") is None
    texts.append(text_of(toy_run))
    assert len(set(texts)) == 1
    assert len(written) == 2
    assert file.path.read_bytes() == content


def test_without_a_place_to_keep_them_weights_are_in_memory(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = text_of(toy_run)
    (tmp_path / "file").touch()
    monkeypatch.setenv("CLEARHEAD_CACHE", str(tmp_path / "file"))
    assert text_of(toy_run) == expected
    path = kept_path(toy_run, "best", "float32")
    assert path is not None
    assert not path.exists()
    monkeypatch.setenv("CLEARHEAD_ENGINE", "off")
    assert kept(toy_run, "best", "float32") is None


def test_a_model_that_somebody_has_changed_is_packed_as_it_is(toy_run: Path) -> None:
    expected = text_of(toy_run)
    for _ in range(2):  # whether its run's weights are kept or not
        changed = Translator.load(toy_run, device="cpu")
        changed.model.lm_head.weight.data.mul_(-1)
        assert changed.translate("我吃了一个苹果。").text != expected
        file = kept(toy_run, "best", "float32")
        if file is not None:
            file.path.unlink()
    assert text_of(toy_run) == expected
