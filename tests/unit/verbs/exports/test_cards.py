"""Cards of real exports: their code runs as it stands and gives what the run gives; no artefact has a local path."""

import contextlib
import getpass
import io
import re
from pathlib import Path

import pytest

from clearhead.decode.sampling import SamplingConfig
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.translator import Translator
from clearhead.verbs.exports.formats import Target
from clearhead.verbs.exports.run import Certify, export_run
from tests.unit.verbs.exports.test_targets import untrained

UNCOMPARED = Certify(lines=0)
TEXT, SOURCE = "I ate an apple.", "我吃了一个苹果。"


def said_by(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = TEXT) -> str:
    """Runs the code of a folder's card in that folder, on its own text or on ``text``, and returns what it prints."""
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    output = io.StringIO()
    with monkeypatch.context() as patched, contextlib.redirect_stdout(output):
        patched.chdir(folder)
        exec(code.replace(TEXT, text), {})
    return output.getvalue().strip()


@pytest.mark.parametrize("target", ["hf", "ctranslate2"])
def test_a_translators_code_translates(
    target: Target, toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if target == "ctranslate2":
        pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it reads what is written")
    folder = export_run(toy_run, tmp_path / "out", target=target, certify=UNCOMPARED)
    (ours,) = Translator.load(toy_run).translate([SOURCE], beam=1, limit=63)
    assert said_by(folder, monkeypatch) == ours.text
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'language: ["zh", "en"]' in card
    assert ("Blenderbot" in card) == (target == "hf")


def test_a_language_models_code_writes(toy_lm_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it reads what is written")
    folder = export_run(toy_lm_run, tmp_path / "out", target="ctranslate2", certify=UNCOMPARED)
    line = next((toy_lm_run.parent / "data").glob("*valid*")).read_text(encoding="utf-8").splitlines()[0]
    prompts = [TEXT, line[: len(line) // 2].strip()]
    greedy = SamplingConfig(temperature=0.0)
    ours = LanguageModel.load(toy_lm_run).generate(prompts, GenerationConfig(max_new=12), sampling=greedy)
    assert any(each.text for each in ours)
    for prompt, each in zip(prompts, ours, strict=True):
        said = said_by(folder, monkeypatch, prompt)
        assert said.startswith(prompt)
        assert (prompt + each.text).startswith(said) or said.startswith(prompt + each.text)


def test_a_language_models_code_writes_with_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained(tmp_path / "run", "gpt-small-cpu")
    assert said_by(export_run(run, tmp_path / "out", certify=UNCOMPARED), monkeypatch).startswith(TEXT)


def test_an_encoders_code_embeds(toy_masked_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: it reads what is written")
    filled = export_run(toy_masked_run, tmp_path / "hf", certify=UNCOMPARED)
    assert "'score':" in said_by(filled, monkeypatch)
    states = export_run(toy_masked_run, tmp_path / "ct2", target="ctranslate2", certify=UNCOMPARED)
    assert re.search(r"\b64\b", said_by(states, monkeypatch))
    assert 'pipeline_tag: "feature-extraction"' in (states / "README.md").read_text(encoding="utf-8")


def test_a_classifiers_code_judges(toy_classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export_run(toy_classifier, tmp_path / "out", certify=UNCOMPARED)
    assert re.search(r"'label': '(good|bad)'", said_by(folder, monkeypatch))


def test_no_artefact_tells_where_it_was_made(toy_run: Path, toy_masked_run: Path, tmp_path: Path) -> None:
    targets: tuple[tuple[Path, Target], ...] = (
        (toy_run, "hf"),
        (toy_run, "ctranslate2"),
        (toy_masked_run, "hf"),
        (toy_masked_run, "ctranslate2"),
        (toy_masked_run, "gguf"),
    )
    for number, (run, target) in enumerate(targets):
        folder = export_run(run, tmp_path / str(number), target=target, certify=UNCOMPARED)
        assert (folder / "README.md").is_file()
        places = {str(run), str(run.parent), str(tmp_path), str(Path.home()), str(Path.cwd()), f"/{getpass.getuser()}/"}
        for path in folder.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            assert not [place for place in places if len(place) > 4 and place.encode() in content], path.name
