"""Forms in which a model is saved, what each holds, and what else it takes to open it: code, a config, nothing."""

from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from clearhead.checkpoint import Checkpoint, drop_checkpoint, load_checkpoint, save_checkpoint
from clearhead.config import parse
from clearhead.data.encoded import building
from clearhead.drawing.report import Note, Part, Table, amount
from clearhead.inspect.saved import checkpoint
from clearhead.lessons.lesson import Claims, Say
from clearhead.models.gpt import GPT, GPTConfig
from clearhead.optim.build import OptimConfig, build_optimizers
from clearhead.runs.cache import scored_folder
from clearhead.training.state import TrainState

LIMITS = {"d_model": (8, 256)}
FORMS = ("whole", "weights", "config", "model", "full", "graph")
PIECES = 100  # of the GPT
KINDS = ("weight", "mean", "table", "plain", "operator", "function")


class Operator(nn.PReLU):
    """An operator of one's own: since it is a module, it has a place in ``_modules``."""


class Mine(nn.Module):
    """A model of one's own, with every kind of tensor that a module may have."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d_model))
        self.mean, self.table = nn.Buffer(torch.zeros(d_model)), nn.Buffer(torch.ones(d_model), persistent=False)
        self.plain, self.operator, self.function = torch.ones(d_model), Operator(), torch.relu

    def forward(self, x: Tensor) -> Tensor:
        """Uses them all."""
        return self.function(self.operator(self.weight * (x - self.mean))) * self.table * self.plain


@dataclass(frozen=True)
class Saved:
    """What was measured."""

    kinds: dict[str, bool]
    """By attribute of a model of one's own: whether it is in the state dict."""
    bytes: dict[str, int]
    errors: dict[str, str]
    """What is said when the whole model is opened, as it is and without its class."""
    differences: dict[str, float]
    """Between the outputs of the model and of what was saved and opened, by form."""
    resumes: dict[str, bool]
    """By form: whether clearhead's view of saved models says that training can go on from it."""


def run(*, d_model: int = 32, seed: int = 0) -> Saved:
    """Saves a model of one's own and a GPT in each form, and opens them again."""
    torch.manual_seed(seed)
    folder, mine = scored_folder() / f"lesson-saving-{seed}", Mine(d_model).eval()
    with building(folder) as scratch:
        errors, differences = of_mine(scratch, mine, torch.randn(3, d_model))
        differences |= of_gpt(scratch, d_model)
        sizes = {path.stem: path.stat().st_size for path in scratch.iterdir() if path.is_file()}
        forms = {Path(form.path).name: form for form in checkpoint(scratch / "full", scratch / "model").forms}
    drop_checkpoint(folder)  # nothing is kept
    heads = {name.split(".")[0] for name in mine.state_dict()}
    resumes = {name: form.enough_for.startswith("going on with training") for name, form in forms.items()}
    sizes |= {name: form.bytes for name, form in forms.items()}
    return Saved({name: name in heads for name in KINDS}, sizes, errors, differences, resumes)


def of_mine(scratch: Path, mine: Mine, x: Tensor) -> tuple[dict[str, str], dict[str, float]]:
    """Saves the whole model, its weights, and its graph."""
    whole, weights, graph = (scratch / name for name in ("whole.pt", "weights.pt", "graph.pt2"))
    torch.save(mine, whole)
    torch.save(mine.state_dict(), weights)
    torch.export.save(torch.export.export(mine, (x,), dynamic_shapes=({0: Dim.DYNAMIC},)), graph)
    errors = {"as_it_is": said(whole, weights_only=True)}
    its_class = globals().pop("Mine")  # as in a process that has never heard of it
    errors["without_class"] = said(whole, weights_only=False)
    computed = {"graph": torch.export.load(graph).module()(x)}
    globals()["Mine"] = its_class
    other = Mine(len(mine.weight)).eval()
    other.load_state_dict(torch.load(weights))
    computed |= {"whole": torch.load(whole, weights_only=False)(x), "weights": other(x)}
    return errors, {name: float((output - mine(x)).abs().max().detach()) for name, output in computed.items()}


def said(path: Path, *, weights_only: bool) -> str:
    """Opens a whole model; returns the first sentence of what is said against it."""
    try:
        torch.load(path, weights_only=weights_only)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).split('. ')[0].split(' on ')[0]}"
    return ""


def of_gpt(scratch: Path, d_model: int) -> dict[str, float]:
    """Saves config and weights, a full checkpoint, and one of weights only."""
    model, ids = GPT(GPTConfig(d_model=d_model, n_heads=2, n_layers=1), vocab_size=PIECES), torch.arange(10)[None]
    optimizers = build_optimizers(model, OptimConfig(), lr=1e-3)
    model(ids).square().mean().backward()
    optimizers.step()
    snapshot = TrainState(model.eval(), optimizers).snapshot()
    save_checkpoint(scratch / "full", snapshot)
    save_checkpoint(scratch / "model", Checkpoint({"model": snapshot.tensors["model"]}, snapshot.state))
    torch.save({"config": asdict(model.config), "weights": model.state_dict()}, scratch / "config.pt")
    saved = torch.load(scratch / "config.pt")
    differences, opened = {}, {name: load_checkpoint(scratch / name).tensors["model"] for name in ("full", "model")}
    for name, weights in {"config": saved["weights"], **opened}.items():
        other = GPT(parse(GPTConfig, saved["config"], source="config.pt"), vocab_size=PIECES).eval()
        other.load_state_dict(weights, strict=name == "config")  # a checkpoint has a tied weight once
        differences[name] = float((other(ids) - model(ids)).abs().max().detach())
    return differences


def check(measured: Saved) -> Claims:
    """Returns whether each sentence of the answer holds."""
    errors, sizes, kept = measured.errors, measured.bytes, [name for name in KINDS if measured.kinds[name]]
    return {
        "kinds": kept == ["weight", "mean", "operator"],
        "whole": "AttributeError" in errors["without_class"] and "Mine" in errors["without_class"],
        "refused": errors["as_it_is"] != "",
        "weights": max(measured.differences[name] for name in FORMS[:-1]) == 0,
        "full": measured.resumes == {"full": True, "model": False} and sizes["full"] > 2.5 * sizes["model"],
        "graph": measured.differences["graph"] < 1e-6,
    }


def facts(measured: Saved) -> dict[str, str]:
    """Returns the numbers that sentences name."""
    times = f"{measured.bytes['full'] / measured.bytes['model']:.1f}"
    return {"guess": times, "times": times, "error": measured.errors["without_class"]}


def show(measured: Saved, say: Say) -> list[Part]:
    """Returns what of a module is saved, and for each form its size, what opens it, and what it is enough for."""
    kinds = [(say(f"kind_{name}"), say("yes") if is_in else say("no")) for name, is_in in measured.kinds.items()]
    resumes = {form: say("yes" if measured.resumes.get(form) else "no") for form in FORMS}
    forms = [(say(form), amount(measured.bytes[form]), say(f"opens_{form}"), resumes[form]) for form in FORMS]
    return [
        Table(say("kinds"), (say("attribute"), say("is_in")), kinds),
        Table(say("forms"), (say("form"), f">{say('bytes')}", say("opens"), say("resumes")), forms),
        *(Note(f"{say(name)}: {error}") for name, error in measured.errors.items()),
    ]
