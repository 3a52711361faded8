"""Texts whose lines need the line before, for translators that read it."""

from pathlib import Path
from typing import Any

WHERE: Any = {"checkpoint": "best", "device": "cpu", "weights": "float32", "engine": "auto"}
RAN, LINES = "它跑了。", ["狗来了。", "它跑了。", "", "马吃了。", "它睡了。", "它跑了。"]


def lines_of(stories: Path, stem: str, side: str) -> list[str]:
    return (stories / f"{stem}.{side}").read_text(encoding="utf-8").split("\n")
