"""``clearhead-run`` is built with a compiler that the build fetches, or with none; it has no PyTorch.

With the machine's own compiler the tests' installation itself was built.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from clearhead.verbs.exports.run import Certify, export_run
from tests.architecture.source import ROOT
from tests.native import NATIVE

NEEDED = (
    "annotated_types click markdown_it mdurl numpy numpy.libs pygments rich sentencex tokenizers typing_extensions.py"
)
PARTS = ("src", "presets", "runtime", "hatch_build.py", "LICENSE")


def wheel_of(folder: Path, **environment: str) -> Path:
    """Builds ``runtime`` from a copy of the sources in which nothing is compiled."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "libclearhead.*")
            shutil.copytree(ROOT / part, folder / "source" / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, folder / "source" / part)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "-w",
        str(folder),
        str(folder / "source/runtime"),
    ]
    own = {name: value for name, value in os.environ.items() if name not in ("CC", "CLEARHEAD_ENGINE")}
    done = subprocess.run(command, env=own | environment, capture_output=True, text=True, check=False)
    if "No matching distribution found" in done.stderr or "Temporary failure in name resolution" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


def installed(wheel: Path, folder: Path) -> Path:
    """Unpacks a wheel beside the few packages that it needs, and nothing else."""
    packages = folder / "packages"
    zipfile.ZipFile(wheel).extractall(packages)
    for name in NEEDED.split():
        (packages / name).symlink_to(Path(sysconfig.get_path("purelib")) / name)
    return packages


def clearhead(packages: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-S", "-m", "clearhead", *words]
    environment = {"PYTHONPATH": str(packages), "PATH": os.environ["PATH"]}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
@NATIVE
def test_a_file_is_translated_where_there_is_neither_pytorch_nor_a_compiler(toy_run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    wheel = wheel_of(tmp_path, PATH=str(tmp_path / "empty"))
    if platform.libc_ver()[0] == "glibc":
        assert "-py3-none-manylinux_2_17_" in wheel.name
    packages = installed(wheel, tmp_path)
    assert (packages / "clearhead" / "engine" / "native" / "libclearhead.so").is_file()
    file = export_run(toy_run, tmp_path / "zh-en.clearhead", target="file", certify=Certify(lines=0))
    done = clearhead(packages, "translate", str(file), "我吃了一个苹果。")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
    for words, line in (
        (("train", "demo"), "this takes torch, which is not installed: `pip install clearhead` brings it"),
        (("translate", str(toy_run), "我"), "takes PyTorch, which is not installed; where it is, `clearhead export"),
    ):
        done = clearhead(packages, *words)
        assert line in done.stderr
        assert "Traceback" not in done.stderr
        assert done.returncode
    assert "not installed: models run, and nothing trains" in clearhead(packages, "doctor").stdout


@pytest.mark.long
def test_without_the_engine_the_rest_is_there(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, CLEARHEAD_ENGINE="off")
    assert wheel.name.endswith("-py3-none-any.whl")
    done = clearhead(installed(wheel, tmp_path), "doctor")
    assert done.returncode == 0
    assert "none, PyTorch decodes: no native library in this installation" in done.stdout
