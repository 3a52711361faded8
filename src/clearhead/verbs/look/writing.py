"""Views of a model that writes: the steps of greedy decoding with what the cache moves, and the tree of a beam."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from clearhead.decode.hypotheses import SearchConfig
from clearhead.decode.trace import TraceStep
from clearhead.decode.tree import BeamTree, Fate
from clearhead.drawing.figure import live
from clearhead.drawing.report import Note, Part, Table, View, amount
from clearhead.drawing.tree import draw_tree, tree_height
from clearhead.drawing.wording import Words, worded
from clearhead.errors import ModelError
from clearhead.inspect.traffic import CacheTraffic
from clearhead.messages import Prose, localized
from clearhead.tasks.language_model.neural import LanguageModel
from clearhead.tasks.language_model.prompts import GenerationConfig
from clearhead.tasks.translation.documents.preceding import parted
from clearhead.tasks.translation.translator import Translator
from clearhead.text.tokenizer import Tokenizer
from clearhead.verbs.look.opened import Opened
from clearhead.verbs.look.reading import needs_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from rich.console import RenderableType

NEW, BEAM = 32, 5  # pieces that a language model writes, and hypotheses, as of translate
WHY: dict[Fate, str] = {
    "went on": "went on",
    "finished": "finished",
    "pushed out": "finished, but better ones fill the beam",
    "same text": "finished, but a better one reads the same",
    "late end": "ended behind the candidates that count",
    "not kept": "not kept: the beam was full",
    "outranked": "kept, but none of its continuations was",
    "overtaken": "could no longer win when the search stopped",
    "limit": "at the length limit",
}


@dataclass(frozen=True)
class StepsView(View):
    """Greedy decoding, step by step."""

    text: str
    written: str
    """What the model made of it."""
    steps: list[TraceStep]
    pieces: dict[int, str]
    """Readable form of every id in ``steps``."""
    cache: str
    """What is kept for each piece, in words; empty without a K-V cache."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"steps: {self.text} -> {self.written}"

    def parts(self) -> list[Part]:
        """See ``View``; steps whose measure is not the formula's are marked."""
        rows, apart = list[tuple[str, ...]](), set[int]()
        for number, step in enumerate(self.steps):
            moved = [(step.bytes_read, step.measured_read), (step.bytes_written, step.measured_written)]
            best = "  ".join(f"{self.pieces[piece]}\N{NO-BREAK SPACE}{share:.0%}" for piece, share in step.top[:3])
            figures = [figure for formula, measured in moved for figure in (f"{formula:,}", _figure(measured))]
            rows.append((str(number + 1), self.pieces[step.chosen], best, *figures))
            if any(measured is not None and measured != formula for formula, measured in moved):
                apart.add(number)
        columns = (">step", "chosen", "most probable", ">read, B", ">measured", ">written, B", ">measured")
        parts: list[Part] = [Note(self.cache)] if self.cache else []
        parts.append(StepsTable("greedy, one row a step", columns, rows, frozenset(apart), scene=self.scene()))
        if self.cache and not apart:
            parts.append(Note("bytes read and written: the formula is what was measured, at every step"))
        return parts

    def scene(self) -> dict[str, Any]:
        """Returns what the scripts of a page draw."""
        names = self.pieces
        return {
            "steps": [
                {
                    "input": [names[piece] for piece in step.input_ids],
                    "top": [[names[piece], round(share, 5)] for piece, share in step.top],
                    "chosen": names[step.chosen],
                    "read": step.bytes_read,
                    "written": step.bytes_written,
                    "measured_read": step.measured_read,
                    "measured_written": step.measured_written,
                }
                for step in self.steps
            ]
        }


@dataclass(frozen=True)
class StepsTable(Table):
    """The steps as a table, which a page shows as a player."""

    scene: dict[str, Any] = field(default_factory=dict)

    def html(self) -> str:
        """See ``Part``."""
        table = Table(self.title, self.columns, self.rows, self.marked, folded=True).html()
        return live("steps", Prose("greedy decoding, step by step"), self.scene, "") + table


@dataclass(frozen=True)
class BeamTreePicture(Part):
    """The tree of a search: as text, as data for the page, as lines from step to step."""

    title: str
    nodes: Sequence[dict[str, Any]]
    returned: Sequence[int]

    def renderable(self, width: int) -> "RenderableType":
        """See ``Part``: hypotheses that were kept; runs without a fork share a line."""
        from rich.console import Group
        from rich.padding import Padding

        grown: list[RenderableType] = [Words(localized(self.title), style="bold")]
        for line, end, at in self._lines():
            best, text = self.nodes[at]["best"], line.lstrip()
            ends = f" [{localized(end)}]" if end else ""
            shown = Words(text + ends, style="bold green" if best == 1 else "green" if best else "")
            grown.append(Padding(shown, (0, 0, 0, min(len(line) - len(text), width // 2))))
        return Group(*grown)

    def html(self) -> str:
        """See ``Part``."""
        from html import escape

        still = "\n".join(escape(line) + (f" [{worded(end)}]" if end else "") for line, end, _ in self._lines())
        return live("beam", self.title, self.scene(), f"<pre>{still}</pre>")

    def scene(self) -> dict[str, Any]:
        """Returns what the scripts of a page draw."""
        why = {fate: Prose(why) for fate, why in WHY.items()}
        return {"nodes": list(self.nodes), "returned": list(self.returned), "why": why}

    @property
    def height(self) -> float:
        """See ``Part``."""
        return tree_height(self.nodes)

    def draw(self, axes: "Axes") -> None:
        """See ``Part``: each candidate in a box, with what became of it."""
        axes.set_title(localized(self.title), loc="left")
        draw_tree(axes, self.nodes, self.returned, WHY)

    def _lines(self) -> list[tuple[str, str, int]]:
        """Each line, what became of it at its end, and the last node on it."""
        children: dict[int | None, list[int]] = {}
        for number, node in enumerate(self.nodes):
            if node["fate"] not in ("not kept", "late end"):
                children.setdefault(node["parent"], []).append(number)
        lines: list[tuple[str, str, int]] = []
        waiting = [(child, "") for child in reversed(children.get(None, []))]
        while waiting:
            at, indent = waiting.pop()
            pieces = [self.nodes[at]["piece"]]
            while len(children.get(at, [])) == 1:
                at = children[at][0]
                pieces.append(self.nodes[at]["piece"])
            last = self.nodes[at]
            end = "" if last["fate"] == "went on" else _fate(last)
            lines.append((f"{indent}{' '.join(pieces)}  {last['score']:.2f}", end, at))
            waiting += [(child, indent + "  ") for child in reversed(children.get(at, []))]
        return lines


@dataclass(frozen=True)
class BeamView(View):
    """A beam search, every hypothesis of it."""

    text: str
    beam: int
    length_penalty: float
    nodes: list[dict[str, Any]]
    """Of each hypothesis: parent (a place in this list), step, piece, id, log_prob, score (the sum of its path), its
    rank_score (by which ends are ranked), rank among the candidates of its step, fate, and when it died; ``best`` is
    the place among what was returned of the best result that it leads to, 0 for none."""
    returned: list[int]
    """Ends of the results, best first."""

    @property
    def title(self) -> str:
        """See ``View``."""
        return f"beam: {self.text}, {self.beam} hypotheses"

    def parts(self) -> list[Part]:
        """See ``View``."""
        counts = {fate: sum(node["fate"] == fate for node in self.nodes) for fate in WHY}
        said = ", ".join(f"{fate} {count}" for fate, count in counts.items() if count)
        parts: list[Part] = [Note(f"{len(self.nodes)} candidates: {said}")]
        for place, end in enumerate(self.returned, 1):
            path = [self.nodes[node] for node in self._path(end)]
            rows = [
                (str(node["step"]), node["piece"], f"{node['log_prob']:.4f}", f"{node['score']:.4f}") for node in path
            ]
            last = path[-1]
            score, ranked = last["score"], last["rank_score"]
            name = f"result {place}: score {score:.4f}, with the length penalty {ranked:.4f}"
            parts.append(Table(name, (">step", "piece", ">log p", ">sum"), rows, folded=True))
        parts.append(self.picture())
        return parts

    def picture(self) -> BeamTreePicture:
        """Returns the tree."""
        return BeamTreePicture("the tree: score, and what became of it", self.nodes, self.returned)

    def _path(self, node: int) -> list[int]:
        at: int | None = node
        path = []
        while at is not None:
            path.append(at)
            at = self.nodes[at]["parent"]
        return path[::-1]


def steps_of(opened: Opened) -> StepsView:
    """Follows a greedy translation, or ``NEW`` pieces behind a prompt, on the eager model.

    Raises:
        ModelError: the model writes no text.
    """
    text = needs_text(opened, "steps")
    match opened.trained:
        case Translator() as translator:
            translator = translator.leading
            context, own = parted(text, translator.sides)
            trace = translator.trace(own, context=context, meter=CacheTraffic)
            return StepsView(
                text, trace.translation, trace.steps, trace.pieces, _cache_of(opened, Prose("self and source"))
            )
        case LanguageModel() as model:
            tokenizer = model.tokenizer
            steps = replace(model, weights=None).trace(text, GenerationConfig(max_new=NEW), meter=CacheTraffic)
            used = {
                piece for step in steps for piece in (step.chosen, *step.input_ids, *(best for best, _ in step.top))
            }
            names = dict(zip(sorted(used), tokenizer.pieces(sorted(used)), strict=True))
            written = tokenizer.decode([step.chosen for step in steps])
            return StepsView(text, written, steps, names, _cache_of(opened, Prose("prompt and text")))
    raise _writes_nothing("steps")


def beam_of(opened: Opened, *, beam: int = BEAM) -> BeamView:
    """Searches as ``translate`` does, or for ``NEW`` pieces behind a prompt, with ``beam`` hypotheses.

    Raises:
        ModelError: the model writes no text.
    """
    text = needs_text(opened, "beam")
    match opened.trained:
        case Translator() as translator:
            translator = translator.leading
            context, own = parted(text, translator.sides)
            tree = translator.beam_tree(own, SearchConfig(beam, 1), context=context)[1]
            return _beam_view(text, beam, tree, translator.tokenizers.tgt)
        case LanguageModel() as model:
            tree = model.beam_tree(text, GenerationConfig(max_new=NEW, beam=beam))[1]
            return _beam_view(text, beam, tree, model.tokenizer)
    raise _writes_nothing("beam")


def _beam_view(text: str, beam: int, tree: BeamTree, tokenizer: Tokenizer) -> BeamView:
    return BeamView(text, beam, SearchConfig().length_penalty, _nodes(tree, tokenizer), tree.returned)


def _writes_nothing(what: str) -> ModelError:
    return ModelError(f"view {what!r}: a BERT writes no text; it is for translators and language models")


def _nodes(tree: BeamTree, tokenizer: Tokenizer) -> list[dict[str, Any]]:
    best = [0] * len(tree.nodes)
    for place, end in reversed(list(enumerate(tree.returned, 1))):
        for at in tree.path(end):
            best[at] = place
    names = tokenizer.pieces([node.piece for node in tree.nodes])
    return [
        {
            "parent": node.parent,
            "step": node.step,
            "piece": name,
            "id": node.piece,
            "log_prob": node.log_prob,
            "score": node.score,
            "rank_score": node.rank_score,
            "rank": node.rank,
            "fate": node.fate,
            "died": node.died,
            "best": place,
        }
        for node, name, place in zip(tree.nodes, names, best, strict=True)
    ]


def _cache_of(opened: Opened, positions: str) -> str:
    config = opened.recipe.model
    heads = getattr(config, "n_heads", 0)
    if not heads:
        return ""
    kv_heads, head_dim = config.n_kv_heads or heads, config.d_model // heads
    layers = getattr(config, "n_decoder_layers", 0) or config.n_layers
    width = next(opened.model.parameters()).element_size()
    kind = "multi-head" if kv_heads == heads else "multi-query" if kv_heads == 1 else "grouped-query"
    each = 2 * layers * kv_heads * head_dim * width
    return (
        f"{kind}: 2 (keys, values) x {layers} layers x {kv_heads} heads x {head_dim} features x {width} B = "
        f"{amount(each)} a position; a step reads all positions of {positions}, and writes its own"
    )


def _fate(node: dict[str, Any]) -> str:
    why = WHY[node["fate"]]
    return why if node["died"] is None else f"{why}; step {node['died']}"


def _figure(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
