"""The engine's tests once more with a library that watches each access to memory, and arithmetic that C leaves open."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearhead.engine import build
from tests.architecture.source import ROOT
from tests.native import NATIVE

pytestmark = [pytest.mark.long, NATIVE]
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"]
LIBRARIES = {"gcc": "libasan.so", "clang": f"libclang_rt.asan-{build.processor()}.so"}
SHARED = {"gcc": [], "clang": ["-shared-libasan"]}
TESTS = ("engine/test_library.py", "engine/test_rows.py", "engine/test_decoding.py", "engine/loops")
FOUND = "found"
SLOW = "not (test_no_bit_depends_on_threads and portable)"


def sanitizer(folder: Path) -> tuple[list[str], str]:
    """Returns a compiler that has both sanitizers, and what to load before all else."""
    (folder / "empty.c").write_text("int empty(void) { return 0; }\n")
    for name, library in LIBRARIES.items():
        path = shutil.which(name)
        if not path:
            continue
        command = [path, *SANITIZE, *SHARED[name]]
        made = [*command, "-shared", "-fPIC", str(folder / "empty.c"), "-o", str(folder / "empty.so")]
        found = subprocess.run([path, f"-print-file-name={library}"], capture_output=True, text=True, check=True)
        if subprocess.run(made, capture_output=True, check=False).returncode == 0 and "/" in found.stdout:
            return command, found.stdout.strip()
    pytest.skip(f"neither {' nor '.join(LIBRARIES)} is here with its sanitizers")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process whose native library is watched."""
    folder = tmp_path_factory.mktemp("sanitized")
    command, preload = sanitizer(folder)
    with pytest.MonkeyPatch.context() as patch:
        digest = build.digest()
        patch.setattr(build, "FLAGS", [*build.FLAGS, "-O1", "-g1"])  # a tenth of the time, and lines in what it finds
        library = folder / build.LIBRARY.name
        assert build.build(command, library) == ""
        library.with_suffix(".sha256").write_text(digest)
    log = f"log_path={folder / FOUND}"  # since pytest keeps what a process that ends by it has said
    options = {"ASAN_OPTIONS": f"detect_leaks=0:{log}", "UBSAN_OPTIONS": f"print_stacktrace=1:{log}"}
    paths = {"SANITIZED": str(folder), "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return {**os.environ, **options, **paths, "LD_PRELOAD": preload}


def findings(watched: dict[str, str]) -> str:
    """Returns what the sanitizers have said."""
    logs = sorted(Path(watched["SANITIZED"]).glob(f"{FOUND}.*"))
    return "".join(log.read_text(errors="replace")[:4000] for log in logs)


@pytest.mark.parametrize("rooms", [TESTS, ("decode/test_native.py", "engine/test_threads.py")], ids=["steps", "loops"])
def test_the_engine_touches_what_is_its_own(rooms: tuple[str, ...], watched: dict[str, str], tmp_path: Path) -> None:
    tests = [str(ROOT / "tests/unit" / room) for room in rooms]
    words = ["-q", "-x", "-p", "tests.sanitized", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", SLOW]
    command = [sys.executable, "-m", "pytest", *words, f"--basetemp={tmp_path / 'tests'}", *tests]
    done = subprocess.run(command, cwd=ROOT, env=watched, capture_output=True, text=True, check=False)
    assert done.returncode == 0, findings(watched) or done.stdout[-4000:] + done.stderr[-4000:]
    assert " passed" in done.stdout
    assert " skipped" not in done.stdout


def test_the_watched_library_is_the_one_that_computes(watched: dict[str, str]) -> None:
    """A read just behind an array ends the process, so that the tests above can fail."""
    code = """
import tests.sanitized, numpy as np
tests.sanitized.pytest_sessionstart(None)
from clearhead.engine.library import library
memory = np.ones(64, np.float32)
kernels = library()
from tests.unit.engine.test_library import Kernels
table = Kernels.from_address(kernels.ch_kernels_of(b"portable"))
table.softmax(memory.ctypes.data, 65)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=watched, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in findings(watched)
    assert "softmax" in findings(watched)
