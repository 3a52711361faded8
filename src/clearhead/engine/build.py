"""Compiles the native library from the C sources in ``native/``; needs nothing but Python and a C compiler.

``python -m clearhead.engine.build`` does it for an installation in place; the build hook of the wheel runs the same.
The kernels are one source file, compiled once for each set of instructions and chosen among when the library is loaded.
"""

import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

SOURCES = Path(__file__).parent / "native"
LIBRARY = SOURCES / "libclearhead.so"
STAMP = SOURCES / "libclearhead.sha256"
"""What the library was built from; see ``digest``."""

FLAGS = "-std=c11 -O3 -g0 -fPIC -pthread -fvisibility=hidden -D_GNU_SOURCE -ffp-contract=off".split()
INSTRUCTIONS: dict[str, dict[str, list[str]]] = {
    "x86_64": {
        "avx2": "-DCH_AVX2 -mavx2 -mfma -mf16c".split(),
        "avx512": "-DCH_AVX512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c".split(),
    },
    "aarch64": {"neon": ["-DCH_NEON"]},
}
"""By processor, besides what is portable: the flags of each set of instructions."""
ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST = "2.17"
"""The glibc, of 2012, that ziglang builds for."""


def processor() -> str:
    """Returns the processor's family as the keys of ``INSTRUCTIONS`` have it."""
    machine = platform.machine().lower()
    return ALIASES.get(machine, machine)


def digest() -> str:
    """Returns a checksum of all that decides what the library is: sources and flags."""
    checksum = hashlib.sha256(repr((FLAGS, INSTRUCTIONS.get(processor()))).encode())
    for path in sorted([*SOURCES.glob("*.c"), *SOURCES.glob("*.h")]):
        checksum.update(path.name.encode() + b"\0" + path.read_bytes())
    return checksum.hexdigest()


def compiler() -> list[str]:
    """Returns the command of a C compiler: of ``CC``, the machine's, or of the package ziglang; empty without one."""
    if named := os.environ.get("CC", "").split():
        return [*named, *zig_target()] if "ziglang" in named and "-target" not in named else named
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    return [sys.executable, "-m", "ziglang", "cc", *zig_target()] if importlib.util.find_spec("ziglang") else []


def zig_target() -> list[str]:
    """Returns what ziglang is to build for: left alone it takes the very processor and C library of this machine."""
    if sys.platform == "darwin":
        system = "macos"
    else:
        system = f"linux-gnu.{OLDEST}" if platform.libc_ver()[0] == "glibc" else "linux-musl"
    return ["-target", f"{processor()}-{system}"]


def wheel_platform(tags: Iterable[str], library: Path = LIBRARY) -> str:
    """Returns the platform of a wheel that holds a library, of those that this machine has.

    On Linux it is that of the oldest glibc with every function that the library takes from it (PEP 600), or of musl's
    version; else the first one.

    Args:
        tags: platforms of this machine, as ``packaging.tags.platform_tags`` has them.
        library: that was built.
    """
    here = list(tags)
    needed = max((int(minor) for minor in re.findall(rb"GLIBC_2\.(\d+)", library.read_bytes())), default=0)
    found = [(int(match[1]), match[0]) for tag in here if (match := re.fullmatch(r"manylinux_2_(\d+)_\w+", tag))]
    enough = [each for each in found if each[0] >= needed]
    musl = [tag for tag in here if tag.startswith("musllinux")]
    return min(enough)[1] if enough else (musl or here)[0]


def build(command: list[str] | None = None, library: Path = LIBRARY, target: str | None = None) -> str:
    """Builds the library and its stamp in their place; returns what went wrong in a few words, or nothing.

    Args:
        command: the compiler; None: the first that ``compiler`` finds.
        library: where the library goes.
        target: the processor's family; None: this one's.
    """
    command = compiler() if command is None else command
    if not command:
        return "no C compiler found: install gcc or clang, or `pip install ziglang`"
    shared = [path for path in sorted(SOURCES.glob("*.c")) if path.name != "kernels.c"]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for name, flags in {"portable": [], **INSTRUCTIONS.get(target or processor(), {})}.items():
            objects.append(Path(folder) / f"kernels-{name}.o")
            parts = [*FLAGS, *flags, "-c", str(SOURCES / "kernels.c"), "-o", str(objects[-1])]
            if fault := _run([*command, *parts]):
                return fault
        made = Path(folder) / library.name
        fault = _run([*command, *FLAGS, "-shared", "-o", str(made), *map(str, [*shared, *objects]), "-lm"])
        if fault:
            return fault
        # beside its place first: a process that has the old library loaded keeps it
        beside = library.with_suffix(f".{os.getpid()}")
        try:
            shutil.copyfile(made, beside)
            beside.replace(library)
            library.with_suffix(".sha256").write_text(digest() + "\n", encoding="utf-8")
        except OSError as error:
            return f"{library.name} cannot be written: {error.strerror}"
    return ""


def _run(command: list[str]) -> str:
    """Runs a compiler; returns the first line of its complaint, or nothing."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"{command[0]}: {error.strerror}"
    complaints = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
    return f"{Path(command[0]).name}: {(complaints or ['failed'])[0].strip()}" if done.returncode else ""


if __name__ == "__main__":
    sys.exit(build() or None)
