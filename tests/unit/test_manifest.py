"""What a checkpoint directory holds is read from its manifest; a damaged one gives one line."""

from pathlib import Path

import pytest

from clearhead.errors import ModelError
from clearhead.manifest import checkpoints_of, read_manifest, read_state, weights_file


def test_a_run_lists_its_checkpoints_and_each_its_files(toy_run: Path) -> None:
    checkpoints = checkpoints_of(toy_run)
    assert checkpoints == sorted((toy_run / "checkpoints").glob("step-*"))
    for path in checkpoints:
        assert weights_file(path).is_file()
        assert read_manifest(path)["state.json"][0] == (path / "state.json").stat().st_size
        assert f"step-{read_state(path)['step']:08}" == path.name
    assert checkpoints_of(toy_run / "checkpoints") == []


@pytest.mark.parametrize("content", ["[]", "{}", '{"state.json": [1]}', "{"])
def test_a_damaged_manifest_gives_one_line(content: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="is damaged: "):
        read_manifest(tmp_path)
