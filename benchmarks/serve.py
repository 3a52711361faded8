"""Measures the server beside the engine alone and beside LibreTranslate's stack (waitress, Flask, CTranslate2).

The same lines are translated by all, the beam is 5: by one call of the engine; by 32 clients of `clearhead serve`, each
of which has a connection and sends its next line when it has the answer to the last; by the same clients of the peer,
whose folder is what `clearhead export RUN --to ctranslate2` writes, and is made where it is not there. Rounds are
interleaved. Then: how long the first word of the shortest line takes alone and among 32 clients; 500 clients that
stream at once; the memory of the process.

    python benchmarks/serve.py RUN LINES [--peer FOLDER] [--writer RUN] [--repeats 5]

With `--small`, RUN and LINES are made first, of the lines of a text: a translator of the shape `small` of translate.py
with random weights, and lines of 16 pieces, end mark included, of each of which it writes 24.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

CLIENTS, STREAMS, BEAM = 32, 500, 5


def request(path: str, body: dict, connection: str) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: {connection}\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def ask(port: int, path: str, body: dict) -> tuple[int, bytes]:
    """Sends one request on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(path, body, "close"))
    answer = await reader.read()
    writer.close()
    return int(answer[9:12]), answer.partition(b"\r\n\r\n")[2]


class Client:
    """A client that keeps its connection."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __aenter__(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()

    async def translate(self, line: str) -> None:
        self.writer.write(request("/translate", body_of(line), "keep-alive"))
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        answer = await self.reader.readexactly(int(head.partition(b"content-length:")[2].partition(b"\r\n")[0]))
        assert head[9:12] == b"200", answer


def body_of(line: str) -> dict:
    return {"q": line, "source": "auto", "target": "en"}


async def load(port: int, lines: list[str]) -> float:
    """Returns the seconds that 32 clients take for all lines."""
    left = iter(lines)

    async def client() -> None:
        async with Client(port) as one:
            for line in left:
                await one.translate(line)

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return time.perf_counter() - begin


async def latencies(port: int, lines: list[str], short: str, *, busy: bool) -> list[float]:
    """Returns how long a short line took, again and again, alone or while 32 clients send theirs."""
    found: list[float] = []
    others = asyncio.create_task(load(port, lines)) if busy else None
    await asyncio.sleep(0.3)
    async with Client(port) as one:
        while len(found) < 400 and not (others and others.done()):
            begin = time.perf_counter()
            await one.translate(short)
            found.append(time.perf_counter() - begin)
            await asyncio.sleep(0.01)  # who types does not ask without a pause
    if others:
        await others
    return found


async def streams(port: int, model: str) -> tuple[int, float]:
    """Returns how many of 500 streams failed, and the seconds until all were over."""

    async def one(number: int) -> bool:
        fields = {"model": model, "prompt": "The", "max_tokens": 64, "stream": True, "seed": number}
        try:
            status, answer = await ask(port, "/v1/completions", fields)
        except OSError:
            return False
        return status == 200 and answer.rstrip().endswith(b"0") and b"[DONE]" in answer

    begin = time.perf_counter()
    good = await asyncio.gather(*map(one, range(STREAMS)))
    return STREAMS - sum(good), time.perf_counter() - begin


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def started(words: list[str], port: int) -> subprocess.Popen:
    """Starts a server and waits until it answers."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    while True:
        try:
            status, _ = asyncio.run(ask(port, "/translate", body_of("a")))
            if status in (200, 400):
                return process
        except OSError:
            pass
        assert process.poll() is None, words
        time.sleep(0.2)


def serve_peer(run: Path, folder: Path, port: int) -> None:
    """LibreTranslate's stack: each request is a thread of waitress, which calls a translator that they share."""
    import ctranslate2
    import flask
    import waitress

    from clearhead.runs.text_parts import load_both_sides
    from clearhead.tasks.translation.length_limit import LengthLimit

    app, parts, lengths = flask.Flask("peer"), load_both_sides(run), LengthLimit.read(run)
    source, target = parts.tokenizer, parts.target
    cores = len(os.sched_getaffinity(0))
    translator = ctranslate2.Translator(
        str(folder), inter_threads=int(os.environ.get("WORKERS", "1")), intra_threads=cores, compute_type="auto"
    )

    @app.post("/translate")
    def translate():
        text = flask.request.get_json()["q"]
        pieces = source.pieces([*source.encode(text), source.ids.eos])
        most = lengths.pieces(len(pieces) - 1)  # as ours
        (found,) = translator.translate_batch([pieces], beam_size=BEAM, max_decoding_length=most)
        return {"translatedText": target.decode([ids[piece] for piece in found.hypotheses[0] if piece in ids])}

    ids = {target.piece(index): index for index in range(target.vocab_size)}
    waitress.serve(app, host="127.0.0.1", port=port, threads=CLIENTS)


def make_small(run: Path, chosen: Path, lines: list[str]) -> None:
    """Writes a run of the shape `small` with random weights, and those of the lines that have 16 pieces."""
    import torch
    from train_translation import SIZES

    from clearhead.checkpoint import Checkpoint, model_tensors, save_checkpoint
    from clearhead.runs.directory import save_json
    from clearhead.runs.pointers import point_to
    from clearhead.runs.recipes import save_recipe
    from clearhead.runs.text_parts import TextParts
    from clearhead.tasks.translation.recipe import build_translator, parse_translation
    from clearhead.text.tokenizer import Tokenizer, TokenizerConfig

    tokenizer = Tokenizer.train(lines, TokenizerConfig(kind="bpe", vocab_size=8000))
    size = SIZES["small"]
    layers = {"n_encoder_layers": size["n"], "n_decoder_layers": size["n"], "block": {"norm_position": "post"}}
    shape = {"d_model": size["d"], "d_ff": size["ff"], "n_heads": size["h"], "max_seq_len": 64, "tie": "all"}
    about = {"task": "translation", "name": "small", "src": "en", "tgt": "en"}
    data = {"train": "train", "valid": "valid", "max_len": 62}
    tree = {**about, "tokenizer": {"kind": "bpe", "joint": True}, "data": data, "model": {**shape, **layers}}
    parts = TextParts(tokenizer, tokenizer)
    torch.manual_seed(1)
    model = build_translator(parse_translation(tree, "small"), parts.sizes)
    with torch.no_grad():
        for name, weight in model.named_parameters():  # see translate.py
            factors = {"q_proj.weight": 6, "k_proj.weight": 6, "o_proj.weight": 3}
            weight.mul_(next((factor for end, factor in factors.items() if name.endswith(end)), 1))
    run.mkdir(parents=True)
    parts.save(run)
    save_recipe(run, tree)
    # 15 pieces in, without the end mark, give at most 24 out
    save_json(run / "data-report.json", {"train": {"length_limit": {"ratio": 1.5, "spare": 1}}})
    checkpoint = run / "checkpoints" / "step-00000001"
    save_checkpoint(checkpoint, Checkpoint({"model": model_tensors(model)}, {"step": 1}))
    point_to(run, "best", checkpoint)
    sized = [line for line in dict.fromkeys(lines) if len(tokenizer.encode(line)) == 15 and line.count(".") < 2]
    chosen.write_text("\n".join(sized) + "\n")


def make_peer(run: Path, folder: Path) -> None:
    """Writes a run for CTranslate2 where it is not there; unproved, since random weights drift too far apart."""
    if folder.exists():
        return
    from clearhead.export.ctranslate2 import ctranslate2_files
    from clearhead.tasks.translation.translator import Translator

    translator = Translator.load(run, device="cpu")
    both = {"source": translator.tokenizers.src, "target": translator.tokenizers.tgt}
    pieces = {side: [each.piece(index) for index in range(each.vocab_size)] for side, each in both.items()}
    folder.mkdir(parents=True)
    ids = translator.tokenizers.tgt.ids
    for name, content in ctranslate2_files(translator.model, pieces, ids=ids, quantize="float32").items():
        (folder / name).write_bytes(content)


def resident(process: subprocess.Popen) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    anonymous = int(status.split("RssAnon:")[1].split()[0])
    return anonymous // 1024


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--writer", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=640)
    parser.add_argument("--serve-peer", type=int)
    parser.add_argument("--small", type=Path, metavar="TEXT", help="make RUN and LINES of this text")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    if asked.small:
        make_small(asked.run, asked.lines, asked.small.read_text().splitlines())
    if asked.serve_peer:
        serve_peer(asked.run, asked.peer, asked.serve_peer)
        return
    lines = [line for line in asked.lines.read_text().splitlines() if line.strip()][: asked.count]
    if len(lines) < asked.count:
        sys.exit(f"{asked.lines}: has {len(lines)} lines, --count is {asked.count}")
    short = min(lines, key=len).split()[0]
    servers = {}
    ports = {"clearhead": free_port(), "peer": free_port()}
    runs = [f"mt={asked.run}", *([f"lm={asked.writer}"] if asked.writer else [])]
    words = [sys.executable, "-m", "clearhead", "serve", *runs, "--port", str(ports["clearhead"]), "--queue", "600"]
    servers["clearhead"] = started(words, ports["clearhead"])
    if asked.peer:
        make_peer(asked.run, asked.peer)
        own = [sys.executable, __file__, str(asked.run), str(asked.lines), "--peer", str(asked.peer)]
        servers["peer"] = started([*own, "--serve-peer", str(ports["peer"])], ports["peer"])

    from clearhead.verbs.quick import open_translator

    where = {"checkpoint": "best", "device": "cpu", "weights": "float32", "engine": "auto"}
    translator = open_translator(asked.run, **where)
    pieces = sum(len(each.pieces) for each in translator.translate(lines, beam=BEAM))
    times: dict[str, list[float]] = {"engine": [], **{name: [] for name in servers}}
    for _ in range(asked.repeats):
        begin = time.perf_counter()
        translator.translate(lines, beam=BEAM)
        times["engine"].append(time.perf_counter() - begin)
        for name in servers:
            times[name].append(asyncio.run(load(ports[name], lines)))
    rates = {name: pieces / statistics.median(each) for name, each in times.items()}
    print(f"{len(lines)} lines, {pieces} pieces; median of {asked.repeats}, pieces a second:")
    for name, rate in rates.items():
        print(f"  {name:10} {rate:8.0f}   clearhead serve / it {rates['clearhead'] / rate:.2f}")
    alone = asyncio.run(latencies(ports["clearhead"], lines, short, busy=False))
    busy = asyncio.run(latencies(ports["clearhead"], lines, short, busy=True))
    p99 = [sorted(each)[int(0.99 * (len(each) - 1))] for each in (alone, busy)]
    print(
        f"a short line: alone median {1000 * statistics.median(alone):.1f} ms, p99 {1000 * p99[0]:.1f}; among "
        f"{CLIENTS} clients median {1000 * statistics.median(busy):.1f}, p99 {1000 * p99[1]:.1f} ({len(busy)} times)"
    )
    print(f"memory besides mapped weights: {resident(servers['clearhead'])} MB")
    if asked.writer:
        failed, seconds = asyncio.run(streams(ports["clearhead"], "lm"))
        print(
            f"{STREAMS} streams at once: {failed} failed, {seconds:.1f} s; memory {resident(servers['clearhead'])} MB"
        )
    for process in servers.values():
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
