"""The model card that every run carries as README.md."""

from pathlib import Path

from clearhead.tasks.translation import Prepared


def model_card(prepared: Prepared, run: Path) -> str:
    """Returns Markdown: languages, data, sizes, scores, how to use."""
    recipe, state = prepared.recipe, prepared.state
    parameters = sum(parameter.numel() for parameter in state.model.parameters())
    scores = ", ".join(f"{name} {value:.3f}" for name, value in state.scores.items()) or "not evaluated yet"
    report = "\n".join(f"    {line}" for line in prepared.train.report.lines())
    return f"""# {run.name}

A translation model from `{recipe.src}` to `{recipe.tgt}`, trained with clearhead. {recipe.about}

| | |
|---|---|
| model | encoder-decoder Transformer, {recipe.model.n_encoder_layers} + {recipe.model.n_decoder_layers} layers, \
d_model {recipe.model.d_model}, {parameters:,} parameters |
| vocabulary | {recipe.tokenizer.kind}, {prepared.tokenizers.src.vocab_size:,} source and \
{prepared.tokenizers.tgt.vocab_size:,} target pieces |
| trained | {state.step:,} steps, {state.seconds / 60:.1f} minutes |
| valid | {scores} |

Training text:

{report}

Use it:

    clearhead translate {run} "..."
    clearhead evaluate {run} --data DIR --split test
    clearhead trace {run} "..."

`recipe.toml` is the whole recipe, `metrics.jsonl` every step, `loss.png` the curves.
"""
