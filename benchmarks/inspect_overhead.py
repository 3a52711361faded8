"""Measures what inspecting costs: time and memory beyond a plain forward on a model of GPT-2's shape, ours and peers'.

Run it with an interpreter that has torch, transformers and the peers; clearhead is imported from this checkout. Every
tool has its own process in every round, and a figure is the median over the rounds. ``--layers 12 --d-model 768`` is
GPT-2 124M.

    python benchmarks/inspect_overhead.py --layers 12 --d-model 768 --repeats 3

``--pairs`` compares our tools with peers that do the same work, alternately on one model in one process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[1] / "src"
Look = Callable[[Any, Any], str]
TOOLS = (
    "clearhead model",
    "torchinfo",
    "clearhead memory",
    "clearhead autograd",
    "torchviz",
    "clearhead layout",
    "clearhead attention",
    "torchlens",
    "transformer_lens",
    "bertviz",
    "bertviz sdpa",
)


def gpt2(options: argparse.Namespace, attention: str = "sdpa") -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": options.layers, "n_embd": options.d_model, "n_head": max(options.d_model // 64, 1)}
    return GPT2LMHeadModel(GPT2Config(**sizes, attn_implementation=attention, use_cache=False)).eval()


def hooked(options: argparse.Namespace) -> Any:
    """Builds TransformerLens 4's own model from a config: its wrapper of Hugging Face's models needs the hub."""
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    width, heads = options.d_model, max(options.d_model // 64, 1)
    sizes = {"d_model": width, "d_head": width // heads, "n_heads": heads, "n_layers": options.layers}
    parts = {"d_mlp": 4 * width, "n_ctx": 1024, "d_vocab": 50257, "act_fn": "gelu_new", "normalization_type": "LN"}
    return TransformerBridge.boot_native(TransformerBridgeConfig(**sizes, **parts)).eval()


def our_gpt(options: argparse.Namespace) -> Any:
    from clearhead.models.gpt import GPT, GPTConfig

    width = options.d_model
    sizes = {"d_model": width, "d_ff": 4 * width, "n_heads": max(width // 64, 1), "n_layers": options.layers}
    return GPT(GPTConfig(**sizes, max_seq_len=1024), vocab_size=50257).eval()


def loss_of(model: Any, ids: Any) -> Any:
    out = model(ids)
    return (out if hasattr(out, "mean") else out.logits).float().mean()


def look_with(tool: str, options: argparse.Namespace) -> tuple[Any, Look]:
    """Returns the model that a tool inspects, and a function that inspects it and returns a summary."""
    match tool:
        case "clearhead model":
            from clearhead.inspect.modules import model as look

            return gpt2(
                options
            ), lambda model, ids: f"{(view := look(model, ids)).parameters:,} parameters, {view.flops:,} FLOP"
        case "clearhead memory":
            from clearhead.inspect.ledger import memory

            return gpt2(options), lambda model, ids: _ledger(memory(model, ids, loss=loss_of))
        case "clearhead autograd":
            from clearhead.inspect.graph import autograd

            return gpt2(options), lambda model, ids: f"{len(autograd(model, ids, loss=loss_of).nodes)} nodes with lines"
        case "clearhead layout":
            from clearhead.inspect.strides import layout

            return gpt2(options), lambda model, ids: f"{(v := layout(model, ids)).views} views, {v.copies} copies"
        case "clearhead attention":
            from clearhead.meter.watch import watching

            return our_gpt(options), lambda model, ids: _watched(watching, model, ids)
        case "torchinfo":
            from torchinfo import summary

            return gpt2(options), lambda model, ids: _summary(summary(model, input_data=ids, verbose=0))
        case "torchviz":
            return gpt2(options), lambda model, ids: f"{_dot(model, ids)} nodes"
        case "torchlens":
            import torchlens

            return gpt2(options), lambda model, ids: f"{len(torchlens.trace(model, ids).layers)} layers with outputs"
        case "transformer_lens":
            return hooked(options), lambda model, ids: f"{len(model.run_with_cache(ids)[1])} activations"
        case _:
            return gpt2(options, "sdpa" if tool.endswith("sdpa") else "eager"), _bertviz


def _ledger(view: Any) -> str:
    return f"peak {view.peak:,} B, ledger off by {max(abs(moment.gap) for moment in view.moments):.2%}"


def _watched(watching: Any, model: Any, ids: Any) -> str:
    taps = {name: module for name, module in model.named_modules() if name.endswith(".tap")}
    with watching(taps) as seen:
        model(ids)
    return f"{sum(len(weights) for weights in seen.values())} layers of attention weights"


def _summary(counts: Any) -> str:
    return f"{counts.total_params:,} parameters, {2 * counts.total_mult_adds:,} FLOP"


def _dot(model: Any, ids: Any, *, back: bool = False) -> int:
    import torch
    from torchviz import make_dot

    with torch.enable_grad():
        loss = loss_of(model, ids)
        dot = make_dot(loss, params=dict(model.named_parameters()), show_saved=True, show_attrs=True)
    if back:
        loss.backward()
    return sum("->" not in line and "[label=" in line for line in dot.body)


def _bertviz(model: Any, ids: Any) -> str:
    from bertviz import head_view

    attention = model(ids, output_attentions=True).attentions
    page = head_view(attention, [str(number) for number in range(ids.shape[1])], html_action="return")
    return f"a page of {len(page.data):,} characters that loads scripts from elsewhere"


def work(tool: str, options: argparse.Namespace) -> dict[str, Any]:
    """Measures a tool after two plain forwards: processor time, and the growth of the process's peak memory."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, look = look_with(tool, options)
    ids = torch.randint(0, 50257, (1, options.length))
    with torch.no_grad():
        model(ids)
        started = time.process_time()
        model(ids)
        plain = time.process_time() - started
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.process_time()
        said = look(model, ids)
    seconds = time.process_time() - started
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"plain": plain, "seconds": seconds, "mb": grown / 1024, "said": said}


def pairs(options: argparse.Namespace) -> None:
    """Times tools that do the same work alternately, in both orders: forward only, and a step with freed gradients."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, ids = gpt2(options), torch.randint(0, 50257, (1, options.length))
    looks: dict[str, Look] = {
        "plain forward": lambda model, ids: str(model(ids).logits.shape),
        **{tool: look_with(tool, options)[1] for tool in ("clearhead model", "torchinfo")},
        "plain step": _step,
        "clearhead autograd": look_with("clearhead autograd", options)[1],
        "torchviz, then back": lambda model, ids: f"{_dot(model, ids, back=True)} nodes",
    }
    taken: dict[str, list[float]] = {name: [] for name in looks}
    for number in range(2 + options.repeats):
        for name, look in list(looks.items())[:: 1 if number % 2 else -1]:
            with torch.set_grad_enabled("step" in name):
                started = time.process_time()
                look(model, ids)
                model.zero_grad()
            taken[name] += [time.process_time() - started] * (number > 1)
    for name, seconds in taken.items():
        print(
            f"{name}: {1e3 * statistics.median(seconds):.1f} ms ({', '.join(f'{1e3 * turn:.0f}' for turn in seconds)})"
        )


def _step(model: Any, ids: Any) -> str:
    loss = loss_of(model, ids)
    loss.backward()
    return str(loss.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("layers", 12), ("d-model", 768), ("length", 64), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--tools", nargs="*", default=TOOLS)
    parser.add_argument("--pairs", action="store_true", help="in turns in one process, against the same work")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(work(options.one, options)))
        return
    if options.pairs:
        pairs(options)
        return
    measured: dict[str, list[dict[str, Any]]] = {tool: [] for tool in options.tools}
    path = os.pathsep.join(filter(None, [str(SOURCES), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    for _ in range(options.repeats):
        for tool in options.tools:
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--one", tool],
                capture_output=True, text=True, env=environment, check=False,
            )  # fmt: skip
            print(tool, done.stdout.strip()[-300:] or done.stderr.strip()[-300:], file=sys.stderr, flush=True)
            measured[tool].append(
                json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"error": done.stderr}
            )
    print("| tool | plain forward, ms | look, ms | times | memory, MB | says |\n|---|---|---|---|---|---|")
    for tool, runs in measured.items():
        failed = [run["error"].strip().splitlines()[-1] for run in runs if "error" in run]
        if failed:
            print(f"| {tool} | | | | | fails: {failed[0][:160]} |")
            continue
        plain, look, grown = (statistics.median(run[key] for run in runs) for key in ("plain", "seconds", "mb"))
        figures = f"{1e3 * plain:,.0f} | {1e3 * look:,.0f} | {look / plain:.1f} | {grown:,.0f}"
        print(f"| {tool} | {figures} | {runs[0]['said']} |")


if __name__ == "__main__":
    main()
