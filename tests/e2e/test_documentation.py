"""Every command and every Python block of the documentation runs, in order, on a small corpus."""

import contextlib
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.foreign import write_bert, write_gpt2, write_marian
from tests.keys import write_keys
from tests.toy import labelled_lines, write_labelled
from tests.warm import warm_programs

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "README.zh-CN.md", *sorted((ROOT / "docs").glob("*.md"))]
# the same recipe, cut down to seconds
SMALL = ["train.max_steps=3", "model.d_model=16", "model.d_ff=32", "train.batch_tokens=512", "train.warmup_steps=1"]
SMALL += ["tokenizer.vocab_size=400"]

PLAIN = {"train": "train", "valid": "valid", "test": "test"}
FLICKR = {"train": "train", "val": "valid", "test_2016_flickr": "test", "test_2017_flickr": "test"}
CORPORA = [
    ("tatoeba-zh-en", ("zh", "en"), PLAIN),
    ("captions-zh-en", ("zh", "en"), PLAIN),
    ("multi30k-en-de", ("en", "de"), FLICKR),  # whose German is English here
]
"""Folders below DIR: their languages, and the split of DIR that each stem of theirs has."""


def blocks(language: str) -> list[str]:
    """Code blocks of a language over all pages, each once, in the order of their first appearance."""
    found = [
        block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.S)
    ]
    return list(dict.fromkeys(found))


def commands() -> list[str]:
    """Shell lines without their comments."""
    lines = [line.partition("  #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return list(dict.fromkeys(line for line in lines if line))


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A folder with DIR, *.txt, *.toml, reviews, pairs, gpt2, bert and opus-mt-zh-en, as the pages have it."""
    folder = tmp_path / "work"
    folder.mkdir()
    code = "import sys, pathlib, clearhead.data.demo_corpus as d; d.write_demo_corpus(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder / "DIR")], check=True)
    for file in (folder / "DIR").iterdir():
        count = 300 if file.stem == "train" else 60
        file.write_text("".join(file.read_text("utf-8").splitlines(keepends=True)[:count]), "utf-8")
    for corpus, (source, target), splits in CORPORA:
        for split, side in itertools.product(splits, (source, target)):
            lines = (folder / "DIR" / f"{splits[split]}.{'zh' if side == 'zh' else 'en'}").read_text("utf-8")
            (folder / "DIR" / corpus).mkdir(exist_ok=True)
            (folder / "DIR" / corpus / f"{split}.{side}").write_text(lines, "utf-8")
    for block in blocks("toml"):
        if named := re.match(r"# (\w+\.toml)\n", block):
            (folder / named[1]).write_text(block, "utf-8")
    (folder / "input.txt").write_text("我吃了一个苹果。\n\n他喜欢书。\n", "utf-8")
    (folder / "story.zh").write_text("我喜欢狗。\n它喜欢书。\n\n她有一本书。\n", "utf-8")
    for name in ("text.txt", "poems.txt", "news.en", "manual.en", "README.md"):
        (folder / name).write_text((folder / "DIR" / "train.en").read_text("utf-8"), "utf-8")
    lines = (folder / "DIR" / "train.en").read_text("utf-8").splitlines()
    articles = [f" \n = {at} = \n \n" + "\n".join(lines[at : at + 5]) for at in range(0, len(lines), 5)]
    (folder / "articles.txt").write_text("\n".join(articles), "utf-8")
    for name, pairs in (("reviews", False), ("pairs", True)):
        write_labelled(folder / name, labelled_lines(40, pairs=pairs), labelled_lines(8, 1, pairs=pairs))
    (folder / "reviews.txt").write_text("a gripping film\nnothing happens\n", "utf-8")
    (folder / "runs").mkdir()
    (folder / "runs" / "en-de").symlink_to("zh-en")  # which is trained by then
    (folder / "terms.tsv").write_text("苹果\tapple\nserver\tServer\n", "utf-8")
    (folder / "film.srt").write_text("1\n00:00:01,000 --> 00:00:02,500\nHe likes books.\n", "utf-8")
    write_gpt2(folder / "gpt2")
    write_bert(folder / "bert")
    write_marian(folder / "opus-mt-zh-en")
    write_keys(folder, "key")
    return folder


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Path]:
    """The folder of the programs that lines name, which run in a process that has loaded torch."""
    with warm_programs(tmp_path) as folder:
        yield folder


def run(line: str, folder: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    """Runs a shell line."""
    paths = os.pathsep.join([str(programs), os.environ["PATH"]])
    env = os.environ | {"PATH": paths, "CLEARHEAD_CACHE": str(folder / "cache")}
    return subprocess.run(line, shell=True, cwd=folder, env=env, text=True, capture_output=True, check=False)


def cut_down(line: str) -> list[str]:
    """The settings that make a training short, of those that its recipe has."""
    if " ngram" in line:
        return []
    if "--from" in line:  # sizes are that run's
        return [item for item in SMALL if item.startswith("train.")]
    return [item for item in SMALL if " rnn-" not in line or item != "model.d_ff=32"]


def cut_down_python(block: str) -> str:
    """Returns a block with the same settings in its calls of ``train``."""
    small = ", ".join(repr(item) for item in SMALL)
    block = block.replace('"tgt=en"]', f'"tgt=en", {small}]')
    block = block.replace('modules={"norm": MeanOfSizes})', f'modules={{"norm": MeanOfSizes}}, overrides=[{small}])')
    return block.replace('data="articles.txt")', f'data="articles.txt", overrides=[{small}])')


@pytest.mark.long  # some eighty commands
@pytest.mark.timeout(3600)
def test_every_command_and_python_block_runs_in_order(workplace: Path, programs: Path) -> None:
    lines = [line for line in commands() if line.startswith(("clearhead ", "curl "))]
    assert len(lines) >= 12
    resumed = False
    with contextlib.ExitStack() as servers:
        for line in lines:
            resumed = resumed or "--resume" in line
            if line.startswith("clearhead serve"):
                servers.close()  # the one before had the same port
                servers.enter_context(served(line, workplace))
            elif not line.startswith("clearhead demo"):  # its own test trains it
                run_shown(line, workplace, programs)
    assert resumed
    for block in blocks("python"):
        done = run(f"python -c {shlex.quote(cut_down_python(block))}", workplace, programs)
        assert done.returncode == 0, (block, done.stderr)


def run_shown(line: str, workplace: Path, programs: Path) -> None:
    """Runs a line of a page, cut down, and looks at what it says."""
    small = " ".join(f"--set {item}" for item in cut_down(line)) if line.startswith("clearhead train") else ""
    done = run(f"{line} {small}", workplace, programs)
    assert done.returncode == 0, (line, done.stderr)
    if line.startswith("clearhead translate") and "< input.txt" in line:
        assert len((workplace / "output.txt").read_text("utf-8").splitlines()) == 3
    elif written := re.search(r"(?:--output|>) (\S+)", line):
        assert (workplace / written[1]).read_bytes().strip(), line
    elif "--resume" not in line:
        assert done.stdout, line  # a line at least: a model of three steps may write spaces alone


@contextlib.contextmanager
def served(line: str, folder: Path) -> Iterator[None]:
    """Runs a server while a page goes on to ask it."""
    words, env = [sys.executable, "-m", *shlex.split(line)], os.environ | {"CLEARHEAD_CACHE": str(folder / "cache")}
    process = subprocess.Popen(words, cwd=folder, env=env, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert said.startswith("serving at http://127.0.0.1:8400"), said
        yield
        process.terminate()
        assert process.wait(120) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_every_make_command_is_a_target() -> None:
    lines = [line for line in commands() if line.startswith("make ")]
    assert {"make demo", "make test"} <= set(lines)
    for line in lines:
        done = subprocess.run([*shlex.split(line), "-n"], cwd=ROOT, text=True, capture_output=True, check=False)
        assert done.returncode == 0, (line, done.stderr)


def test_the_two_readmes_show_the_same_code() -> None:
    english, chinese = ((ROOT / name).read_text("utf-8") for name in ("README.md", "README.zh-CN.md"))
    bare = [
        [re.sub(r"  +#.*", "", block) for block in re.findall(r"```(?:sh|python)\n(.*?)```", page, re.S)]
        for page in (english, chinese)
    ]
    assert bare[0] == bare[1]


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), (page.name, target)
