"""The library is built where a compiler is, a failed build changes nothing and says why, new sources are noticed."""

import os
import platform
import shutil
import sys
from pathlib import Path

import pytest

from clearhead.engine import build


def test_a_change_of_the_sources_or_flags_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = build.digest()
    shutil.copytree(build.SOURCES, tmp_path / "native")
    monkeypatch.setattr(build, "SOURCES", tmp_path / "native")
    assert build.digest() == before
    with (tmp_path / "native" / "vector.h").open("a") as file:
        file.write("\n")
    after = build.digest()
    monkeypatch.setattr(build, "FLAGS", [*build.FLAGS, "-O1"])
    assert len({before, after, build.digest()}) == 3


def test_the_compiler_is_the_named_one_or_the_first_there_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "ccache gcc")
    assert build.compiler() == ["ccache", "gcc"]
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: None)
    assert build.compiler() == []
    assert build.build(library=tmp_path / "libclearhead.so").startswith("no C compiler found: ")
    for name in ("clang", "gcc"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        assert build.compiler() == [str(tmp_path / name)]
    for name in ("clang", "gcc"):
        (tmp_path / name).unlink()
    monkeypatch.setattr(build.importlib.util, "find_spec", lambda name: object())
    assert build.compiler() == [sys.executable, "-m", "ziglang", "cc", *build.zig_target()]


@pytest.mark.parametrize(
    ("system", "libc", "target"),
    [("linux", "glibc", "linux-gnu.2.17"), ("linux", "", "linux-musl"), ("darwin", "", "macos")],
)
def test_zig_builds_for_every_processor_of_the_family(
    system: str, libc: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left alone it takes the very processor that it runs on, and its C library."""
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "libc_ver", lambda: (libc, ""))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setenv("CC", "python -m ziglang cc")
    assert build.compiler() == ["python", "-m", "ziglang", "cc", "-target", f"x86_64-{target}"]
    monkeypatch.setenv("CC", "python -m ziglang cc -target riscv64-linux-musl")
    assert build.compiler()[-1] == "riscv64-linux-musl"


LINUX = ["linux_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(36, 16, -1)), "manylinux2014_x86_64"]


@pytest.mark.parametrize(
    ("symbols", "tags", "platform_of_wheel"),
    [
        (b"GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9", LINUX, "manylinux_2_34_x86_64"),
        (b"GLIBC_2.2.5\0GLIBC_2.14", LINUX, "manylinux_2_17_x86_64"),
        (b"GLIBC_2.38", LINUX, "linux_x86_64"),
        (b"memcpy", ["linux_x86_64", "musllinux_1_2_x86_64", "musllinux_1_1_x86_64"], "musllinux_1_2_x86_64"),
        (b"_memcpy", ["macosx_14_0_arm64", "macosx_13_0_arm64"], "macosx_14_0_arm64"),
    ],
)
def test_a_wheel_is_for_the_oldest_c_library_that_has_all_that_it_takes(
    symbols: bytes, tags: list[str], platform_of_wheel: str, tmp_path: Path
) -> None:
    library = tmp_path / "libclearhead.so"
    library.write_bytes(b"\x7fELF" + symbols + b"\0")
    assert build.wheel_platform(iter(tags), library) == platform_of_wheel


def test_a_failed_build_says_why_and_leaves_the_library(tmp_path: Path) -> None:
    library = tmp_path / "libclearhead.so"
    library.write_text("old")
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'kernels.c:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    assert build.build([str(broken)], library) == "cc: kernels.c:1: error: no such thing"
    assert build.build([str(tmp_path / "nothing")], library).endswith("nothing: No such file or directory")
    assert (library.read_text(), os.listdir(tmp_path)) == ("old", ["libclearhead.so", "cc"])


@pytest.mark.long
@pytest.mark.skipif(not build.compiler(), reason="no C compiler")
def test_it_builds_from_nothing(tmp_path: Path) -> None:
    assert build.build(library=tmp_path / "libclearhead.so") == ""
    assert (tmp_path / "libclearhead.sha256").read_text().strip() == build.digest()
    assert (tmp_path / "libclearhead.so").stat().st_size > 50_000


def test_processors_have_one_name_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for machine, name in (("AMD64", "x86_64"), ("x86_64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert build.processor() == name
