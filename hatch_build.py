"""Compiles the native engine into the package when it is installed or built; without a compiler the rest installs.

An editable install gets the library in the source tree, a wheel carries it and has the platform in its tag. A machine
without a C compiler gets one from the package ziglang, for the build alone; CLEARHEAD_ENGINE=off builds none at all.
"""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

ROOM = Path(__file__).parent / "src/clearhead/engine"


# where there are such compilers; elsewhere an install goes on without the library
COMPILER = "ziglang ; " + " or ".join(
    f"platform_machine == {name!r}" for name in ("x86_64", "AMD64", "aarch64", "arm64")
)


class NativeEngineHook(BuildHookInterface):
    """Builds ``engine/native`` before the files of a wheel are collected."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs besides hatchling: a compiler, where the machine has none."""
        wanted = self.target_name == "wheel" and os.environ.get("CLEARHEAD_ENGINE") != "off"
        return [COMPILER] if wanted and not self._build_module().compiler() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles, and adds the library to a wheel that is not an editable one."""
        if self.target_name != "wheel" or os.environ.get("CLEARHEAD_ENGINE") == "off":
            return
        builder = self._build_module()
        fresh = builder.LIBRARY.exists() and builder.STAMP.exists()
        if not (fresh and builder.STAMP.read_text(encoding="utf-8").strip() == builder.digest()):
            fault = builder.build()
            if fault:
                self.app.display_warning(f"clearhead: the native engine is not built: {fault}")
                return
        if version == "editable":
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{builder.wheel_platform(platform_tags())}"
        for path in (builder.LIBRARY, builder.STAMP):
            build_data["force_include"][str(path)] = f"clearhead/engine/native/{path.name}"

    def _build_module(self) -> ModuleType:
        """Loads ``engine/build.py`` by its path: the package's dependencies are not there yet."""
        spec = importlib.util.spec_from_file_location("clearhead_engine_build", ROOM / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
