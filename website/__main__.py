"""``python -m website``: builds the documentation site into site/, and says what is wrong with it."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from website.builder import Build, run_zensical, write_pages
from website.checks import faults
from website.language import ROOT
from website.lesson_pages import measurable


def demo_run(folder: Path) -> Path:
    """Returns the newest run of ``clearhead demo``, or trains one into ``folder`` if there is none."""
    runs = sorted((ROOT / "runs").glob("demo-*"), key=lambda path: path.stat().st_mtime)
    own = folder / "demo"
    if not runs and not (own / "checkpoints" / "best").exists():
        click.echo("training the demo's translator, whose inside the site shows; some three minutes on two cores ...")
        command = [sys.executable, "-m", "clearhead", "demo", "--out", str(own)]
        shutil.rmtree(own, ignore_errors=True)  # of a training that was interrupted
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return runs[-1] if runs else own


def main() -> int:
    """Builds the site and returns the exit status."""
    parser = argparse.ArgumentParser(prog="scripts/site", description=__doc__)
    parser.add_argument(
        "--run", type=Path, help="trained translator; by default the newest run of clearhead demo, or one made now"
    )
    parser.add_argument("--no-run", action="store_true", help="leave out what looks into a trained run")
    parser.add_argument("--site", type=Path, default=ROOT / "site", help="folder of the built site")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "site", help="folder of the generated pages")
    parser.add_argument("--lessons", help="measure these alone, as in scale,masks; none: no lesson")
    parser.add_argument("--short", action="store_true", help="measure lessons in their short form")
    given = parser.parse_args()
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler writes to stderr when it starts and stops
    begun, run = time.monotonic(), None if given.no_run else given.run or demo_run(given.folder)
    lessons = (
        measurable(run) if given.lessons is None else [name for name in given.lessons.split(",") if name != "none"]
    )
    build = Build(given.folder, given.site, run, tuple(lessons), given.short)
    write_pages(build)
    try:
        run_zensical(build)
    except subprocess.CalledProcessError as error:
        click.echo(f"zensical ended with status {error.returncode}", err=True)
        return 1
    wrong = faults(build.site)
    click.echo("\n".join(wrong), err=True)
    pages = len(list(build.site.rglob("*.html")))
    click.echo(f"{build.site}: {pages} pages in {time.monotonic() - begun:.0f} s, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
