"""ONNX folders that ONNX Runtime, Optimum and transformers.js load without clearhead: graphs, tokenizer, settings.

The graphs are written from the modules themselves and not traced: in a moment, with the names that loaders look for,
and the same whatever machine writes them. A grid of shapes and padding is compared in ONNX Runtime before a file is
kept, see ``check``.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from clearhead.errors import ModelError, UsageError
from clearhead.export.runtime import Exportable
from clearhead.interop.folder import write_files
from clearhead.interop.spelling import demand
from clearhead.models.bert import BertConfig, BertPretraining
from clearhead.models.gpt import GPTConfig
from clearhead.models.transformer import TransformerConfig
from clearhead.nn.norm import build_norm
from clearhead.progress import silent
from clearhead.runs.text_parts import TextParts

if TYPE_CHECKING:
    from onnx import ModelProto

Quantization = Literal["float32", "q8", "q4"]
"""How weights are stored, by the words of transformers.js; those of 8 and 4 bits stand beside the float32 ones."""
Opset = Literal[18, 23]
"""Version of ONNX's operators: 23 has attention as one of them, 18 is for runtimes of before 2025."""
FOLDER = "onnx"  # where transformers.js looks
SUFFIX = {"float32": "", "q8": "_quantized", "q4": "_q4"}
# for others Hugging Face's tokenizers treat the space at a mask differently, and unigram cannot have one in a text
_MASKED = {"kind": ("byte_bpe", "wordpiece", "char", "adopted")}
_LARGEST = 1_800_000_000  # bytes of a file of protobuf, which cannot have 2 GB


def write_onnx(
    folder: Path,
    model: Exportable,
    parts: TextParts,
    *,
    marks: Callable[[], bool] = bool,
    quantize: Quantization | None = None,
    opset: Opset = 23,
    say: Callable[[str], object] = silent,
) -> None:
    """Writes a model as a folder for ONNX Runtime, Optimum and transformers.js.

    Args:
        folder: an empty one.
        model: in evaluation mode.
        parts: its tokenizers and labels.
        marks: says of a language model whether a begin mark stands before a text, where its tokenizer does not.
        quantize: which smaller form stands beside the float32 files; none by default.
        opset: version of ONNX's operators.
        say: called with a line for each graph.

    Raises:
        ModelError: a cache cannot do what the model does, or no tokenizer of theirs reads masks like ours; the message
            names the key. Or a graph differs from the model, or the packages are not installed.
        OSError: a file cannot be written.
    """
    check_packages()
    from clearhead.export.onnx.check import Session, check_grid
    from clearhead.export.onnx.costume import files_beside
    from clearhead.export.onnx.models import Unit, build, graphs_of
    from clearhead.export.onnx.quantized import quantized

    check_onnx(model.config, parts.tokenizer.config.kind if isinstance(model, BertPretraining) else None)
    files = files_beside(model, parts, marks)
    unit = Unit() if parts.labels is None else Unit(parts.labels.mean, parts.labels.deviation)
    (folder / FOLDER).mkdir()
    sessions = {}
    for name, write in graphs_of(model, unit).items():
        path = folder / FOLDER / f"{name}.onnx"
        say(f"{path.name}: opset {opset}")
        _save(build(model, write, opset), path)
        sessions[name] = Session(path)
    gap = check_grid(model, sessions, unit)
    say(f"compared in ONNX Runtime over lengths and padding: differs by at most {gap:.1e}")
    if quantize is not None and quantize != "float32":
        for name, write in graphs_of(model, unit).items():
            path = folder / FOLDER / f"{name}{SUFFIX[quantize]}.onnx"
            say(f"{path.name}: {quantize}")
            _save(quantized(build(model, write, opset, shared=False), quantize), path)
            Session(path)
    write_files(folder, files)


def checked_opset(opset: int | None, target: str = "onnx") -> Opset:
    """Returns the opset to write; raises UsageError if it is none of ours, or the target is another format."""
    if opset is not None and target != "onnx":
        raise UsageError(f"--opset {opset}: must be left out with --to {target}")
    known = get_args(Opset)
    if opset is not None and opset not in known:
        raise UsageError(f"--opset {opset}: must be {' or '.join(map(str, known))}")
    return cast(Opset, opset or known[-1])


def check_onnx(config: object, masks: str | None = None) -> None:
    """Checks that a model of ``config`` can be written.

    Args:
        config: its sizes and parts; only those of a Transformer can be.
        masks: of a model that fills masks, the kind of its tokenizer.

    Raises:
        ModelError: a cache cannot do what the model does, or no tokenizer of theirs reads masks like ours; the message
            names the key.
    """
    if not isinstance(config, TransformerConfig | GPTConfig | BertConfig):
        raise ModelError("--to onnx takes Transformers alone")
    norm = config.block.norm
    if isinstance(config, TransformerConfig) and not build_norm(norm, 1, groups=1).position_wise:
        raise ModelError(f"ONNX: model.block.norm = {norm!r}: looks at other positions, so no cache can be used")
    if isinstance(config, GPTConfig) and config.cache_limit < config.max_seq_len:
        assert config.rotary_scaling is not None
        raise ModelError(
            f"ONNX: model.rotary_scaling.kind = {config.rotary_scaling.kind!r}: computes texts of more than "
            f"{config.cache_limit} pieces anew, which no cache can do"
        )
    if masks is not None:
        demand({"kind": masks}, _MASKED, "ONNX: tokenizers of theirs, with masks: tokenizer.")


def check_packages() -> None:
    """Raises ModelError if the packages are not installed; the message names the extra that brings them."""
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise ModelError(f"export --to onnx: needs the package {error.name}; pip install 'clearhead[onnx]'") from error


def _save(model: "ModelProto", path: Path) -> None:
    """Writes and checks a graph; weights beyond what a file of protobuf can hold stand in a file beside it."""
    import onnx

    size = sum(len(weight.raw_data) for weight in model.graph.initializer)
    if size > _LARGEST:
        onnx.save_model(model, path, save_as_external_data=True, location=f"{path.name}_data")
    else:
        path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(path, full_check=True)
