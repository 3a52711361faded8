"""What all jobs share: files in the run, the frame of the model card."""

import json
from pathlib import Path

from clearhead.config import read_toml
from clearhead.tasks.translation_job import prepare_translation
from tests.toy import RECIPE


def test_a_run_keeps_recipe_tokenizer_and_reports(toy_data: Path, tmp_path: Path) -> None:
    job = prepare_translation(RECIPE, "here", toy_data)
    job.save(tmp_path)
    assert read_toml(tmp_path / "recipe.toml")["tgt"] == "en"
    assert (tmp_path / "tokenizer" / "joint.json").is_file()
    reports = json.loads((tmp_path / "data-report.json").read_text(encoding="utf-8"))
    assert set(reports) == {"train", "valid"}


def test_a_card_of_a_run_that_has_not_begun(toy_data: Path, tmp_path: Path) -> None:
    card = prepare_translation(RECIPE, "here", toy_data).card(tmp_path)
    assert "| valid | not evaluated yet |" in card
    assert f"    clearhead evaluate {tmp_path} --data DIR --split test" in card
