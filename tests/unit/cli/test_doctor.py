"""``clearhead doctor``: what it found, as JSON and for a person."""

import json
import platform

import pytest
import torch

from clearhead.verbs.machine import torch_here as machine
from tests.toy import clearhead


def test_json_and_text_tell_the_same(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        machine, "gemm_rate", lambda kind, device: {torch.float32: 1e11, torch.float16: 1e9}.get(kind, 3e11)
    )
    said = clearhead(capsys, "doctor", "--json")
    tree = json.loads(said.out)
    assert (said.code, tree["python"], tree["torch"]) == (0, platform.python_version(), torch.__version__)
    assert "worth trying" in tree["precision"]["bfloat16"]
    assert "do not use" in tree["precision"]["float16"]
    assert tree["precision"]["float32"].startswith("100 GFLOP/s")
    text = clearhead(capsys, "doctor").out
    assert all(key in text for key in tree)
    assert torch.__version__ in text
