"""Models by name: where they come from, what is refused, and how a better checkpoint takes their place."""

import shutil
from pathlib import Path

import pytest

from clearhead.errors import ModelError, UsageError
from clearhead.runs.pointers import find_checkpoint
from clearhead.serve.models import named
from clearhead.serve.site import Site
from clearhead.tasks.translation.translator import Translator
from tests.serving import asking, site_of


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("runs/zh-en", "zh-en"),
        ("runs/zh-en/", "zh-en"),
        ("a=runs/zh-en", "a"),
        ("zh-en.clearhead", "zh-en"),
        ("./x=y/run", "run"),
    ],
)
def test_names(given: str, name: str) -> None:
    assert named(given)[0] == name


def test_two_models_of_one_name_are_refused(toy_run: Path, toy_lm_run: Path) -> None:
    with pytest.raises(UsageError, match="two models of the name 'a'"), site_of([f"a={toy_run}", f"a={toy_lm_run}"]):
        pass


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such directory"), site_of([tmp_path / "nothing"]):
        pass


def test_a_model_that_no_dialect_speaks_of_names_its_verb(toy_lm_run: Path, toy_classifier: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"none of the dialects deepl serves it .openai does.; clearhead generate"),
        site_of([f"lm={toy_lm_run}"], page=False, dialects=("deepl",)),
    ):
        pass
    with (
        pytest.raises(UsageError, match="clearhead classify is the verb for it"),
        site_of([toy_classifier], page=False),
    ):
        pass


def pointed(toy: Path, to: Path) -> tuple[Path, Path, list[str]]:
    """Copies a run whose best checkpoint is its first; returns it, the pointer, and the names of all checkpoints."""
    shutil.copytree(toy, to, symlinks=True)
    pointer = to / "checkpoints" / "best"
    names = sorted(path.name for path in (to / "checkpoints").iterdir() if path.is_dir())
    pointer.write_text(f"{names[0]}\n")
    return to, pointer, names


def test_a_changed_run_takes_the_place_of_the_one_before(toy_run: Path, tmp_path: Path) -> None:
    run, pointer, names = pointed(toy_run, tmp_path / "run")
    with site_of([run]) as site:
        (served,) = site.models
        first = served.now
        assert served.reload() is None, "nothing has changed"
        pointer.write_text(f"{names[-1]}\n")
        said = served.reload()
        assert said == f"model 'run': {served.now.label} in place of {first.label}"
        assert served.now.step > first.step
        assert translated(site) == Translator.load(run, device="cpu").translate("他喝水。").text


def test_a_damaged_checkpoint_is_told_once_and_the_old_one_stays(toy_run: Path, tmp_path: Path) -> None:
    run, pointer, names = pointed(toy_run, tmp_path / "run")
    with site_of([run]) as site:
        (served,) = site.models
        first, text = served.now, translated(site)
        for weights in (run / "checkpoints" / names[-1]).glob("*.safetensors"):
            weights.write_bytes(weights.read_bytes()[:-64] + bytes(64))
        pointer.write_text(f"{names[-1]}\n")
        said = served.reload()
        assert said is not None
        assert f"{first.label} stays" in said
        assert served.now is first
        assert served.reload() is None, "it is told once"
        assert translated(site) == text
        pointer.write_text(f"{names[0]}\n")
        assert served.reload() is None
        assert find_checkpoint(run) is not None


def translated(site: Site) -> str:
    answer = asking(site).post("/translate", {"q": "他喝水。", "source": "zh", "target": "en"})
    assert answer.status == 200, answer.text
    return str(answer.json["translatedText"])
