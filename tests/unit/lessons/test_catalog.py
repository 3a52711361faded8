"""The list of lessons: each has its file and its words, and each file is in the list."""

from clearhead.lessons import lesson
from clearhead.lessons.catalog import LESSONS, THEMES
from clearhead.lessons.lesson import lessons_of
from clearhead.lessons.page import frame
from tests.unit.lessons.test_lesson import ROOT, path_of

FRAMEWORK = {"catalog", "lesson", "page", "quiz", "taken"}


def test_every_lesson_is_there() -> None:
    folder = ROOT / "lessons"
    assert [name for name in LESSONS if not path_of(name).is_file()] == []
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if path.stem != "__init__"}
    assert files == set(LESSONS) | FRAMEWORK
    assert {path.stem for path in (folder / "words").glob("*.toml")} == set(LESSONS) | {"page", "quiz"}


def test_every_theme_has_its_name() -> None:
    assert [name for theme in THEMES for name in lessons_of(theme)] == list(LESSONS)
    languages: tuple[lesson.Language, lesson.Language] = ("en", "zh")
    for language in languages:
        assert set(THEMES) <= set(frame(language))
    assert list(frame("en")) == list(frame("zh"))
