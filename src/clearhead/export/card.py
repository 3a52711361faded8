"""The README.md of an exported folder: a model card in Hugging Face's form, with code that loads it.

The code takes the folder for the current one, so that no path of the machine that wrote it is in there.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from clearhead.version import VERSION

Tag = Literal["translation", "text-generation", "fill-mask", "text-classification", "feature-extraction"]
"""What a model is for, as Hugging Face calls it."""
_LIBRARIES = {"hf": "transformers", "onnx": "transformers"}
_METRICS = {"BLEU": "sacrebleu", "Pearson": "pearsonr"}  # their names, where they are not ours
_EXAMPLES = {"zh": "我吃了一个苹果。", "de": "Ich habe einen Apfel gegessen.", "fr": "J'ai mangé une pomme."}
_EXAMPLE = "I ate an apple."
_READ = 'tokenizer = AutoTokenizer.from_pretrained(".")\n'
_WRITE = 'batch = tokenizer(["TEXT"], return_tensors="pt")\n'
_SHOWN = "print(tokenizer.batch_decode(model.generate(**batchMORE), skip_special_tokens=True)[0])"
_HUGGING_FACE: Mapping[Tag, str] = {
    "translation": f"""from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

{_READ}model = AutoModelForSeq2SeqLM.from_pretrained(".")
{_WRITE}{_SHOWN.replace("MORE", "")}""",
    "text-generation": f"""from transformers import AutoModelForCausalLM, AutoTokenizer

{_READ}model = AutoModelForCausalLM.from_pretrained(".")
{_WRITE}{_SHOWN.replace("MORE", ", max_new_tokens=20")}""",
    "fill-mask": """from transformers import pipeline

print(pipeline("fill-mask", ".")("I ate an [MASK].")[0])""",
    "text-classification": """from transformers import pipeline

print(pipeline("text-classification", ".")("TEXT"))""",
    "feature-extraction": """from sentence_transformers import SentenceTransformer

print(SentenceTransformer(".").encode(["TEXT"]).shape)""",
}
_ONNX: Mapping[Tag, str] = {
    tag: code.replace("from transformers import AutoModelFor", "from optimum.onnxruntime import ORTModelFor")
    .replace(", AutoTokenizer", "\nfrom transformers import AutoTokenizer")
    .replace("model = AutoModelFor", "model = ORTModelFor")
    .replace("from transformers import pipeline", "from optimum.onnxruntime import pipeline")
    for tag, code in _HUGGING_FACE.items()
    if tag != "feature-extraction"
}
_PIECES = """import ctranslate2
from tokenizers import Tokenizer

source, target = Tokenizer.from_file("SOURCE"), Tokenizer.from_file("TARGET")
source.encode_special_tokens = SPLITS  # whether the name of a special piece in a text is text
pieces = source.encode("TEXT", add_special_tokens=False).tokens
"""
_ENCODED = f"""{_PIECES}states = ctranslate2.Encoder(".").forward_batch([["[CLS]", *pieces, "[SEP]"]])
print(states.last_hidden_state.shape)"""
_CTRANSLATE2: Mapping[Tag, str] = {
    "translation": f"""{_PIECES}options = {{"min_decoding_length": 0, "max_input_length": 0, "disable_unk": True}}
results = ctranslate2.Translator(".").translate_batch([pieces], beam_size=1, max_decoding_length=LENGTH, **options)
print(target.decode([target.token_to_id(piece) for piece in results[0].hypotheses[0]]))""",
    "text-generation": f"""{_PIECES}options = {{"max_length": 20, "sampling_topk": 1}}
results = ctranslate2.Generator(".").generate_batch([[BEGIN*pieces]], include_prompt_in_result=False, **options)
print(target.decode([source.token_to_id(piece) for piece in pieces] + results[0].sequences_ids[0]))""",
    "fill-mask": _ENCODED,
    "text-classification": _ENCODED,
    "feature-extraction": _ENCODED,
}
_EMBEDDED = 'llama-embedding -m NAME.gguf -p "TEXT"'
_GGUF: Mapping[Tag, str] = {
    "text-generation": 'llama-cli -m NAME.gguf --temp 0 -n 20 -no-cnv -p "TEXT"',
    "fill-mask": _EMBEDDED,
    "text-classification": _EMBEDDED,
    "feature-extraction": _EMBEDDED,
}
_CODE: Mapping[str, Mapping[Tag, str]] = {
    "hf": _HUGGING_FACE,
    "onnx": _ONNX,
    "ctranslate2": _CTRANSLATE2,
    "gguf": _GGUF,
}


@dataclass(frozen=True)
class Score:
    """What the exported model reaches on the valid split."""

    metric: str
    """Its name here, such as BLEU."""
    value: float
    signature: str | None = None
    """How it was computed, in the words of the library that did."""


@dataclass(frozen=True)
class ArtefactFacts:
    """What a card says of an exported model."""

    name: str
    """Of the model."""
    target: str
    """The format: the word of ``--to``."""
    tag: Tag
    what: str
    """What kind of model it is, and its sizes."""
    stored: str = "float32"
    """How weights are stored."""
    languages: tuple[str, ...] = ()
    """Source and target of a translator."""
    length: int = 0
    """Most pieces of a text."""
    begin: str = ""
    """The piece that a language model reads before a text; empty for none."""
    tokenizers: tuple[str, str] = ("tokenizer.json", "tokenizer.json")
    """Names of the tokenizer's files, of source and target."""
    splits: bool = True
    """Whether the name of a special piece in a text is text."""
    notes: Sequence[str] = ()
    """What a user should know, a sentence each."""
    score: Score | None = None


def artefact_card(facts: ArtefactFacts) -> str:
    """Returns the card: the front matter, what the model is, how it is loaded, and what to mind."""
    language = "sh" if facts.target == "gguf" else "python"
    notes = "".join(f"\n- {note}" for note in facts.notes)
    score = ""
    if facts.score is not None:
        score = f"\nOn the valid split: {facts.score.metric} {facts.score.value:.2f}.\n"
    return (
        f"""---
{_front(facts)}
---

# {facts.name}

{facts.what}. Trained with clearhead {VERSION}; this folder is for {facts.target}, weights as {facts.stored}.
{score}
In this folder:

```{language}
{loading_code(facts)}
```

`certificate.json` says what was compared with the trained model, and how near they are.
{notes}
""".rstrip("\n")
        + "\n"
    )


def loading_code(facts: ArtefactFacts) -> str:
    """Returns code that loads the folder it is run in, and uses the model once."""
    code = _CODE[facts.target].get(facts.tag, "")
    begin = f"{json.dumps(facts.begin)}, " if facts.begin else ""
    source, target = facts.tokenizers
    example = _EXAMPLES.get(facts.languages[0], _EXAMPLE) if facts.languages else _EXAMPLE
    values = {"TEXT": example, "LENGTH": str(facts.length - 1), "BEGIN": begin, "SOURCE": source, "TARGET": target}
    values["SPLITS"] = str(facts.splits)
    for word, value in {**values, "NAME": facts.name}.items():
        code = code.replace(word, value)
    return code


def _front(facts: ArtefactFacts) -> str:
    """Returns the front matter, in YAML of which every value is JSON."""
    tags = ["clearhead", *({"hf": []}.get(facts.target, [facts.target]))]
    tree: dict[str, Any] = {"language": [*dict.fromkeys(facts.languages)]} if facts.languages else {}
    tree |= {"library_name": _LIBRARIES.get(facts.target, facts.target), "pipeline_tag": facts.tag, "tags": tags}
    if facts.score is not None:
        metric = _METRICS.get(facts.score.metric, facts.score.metric)
        tree["metrics"] = [metric]
        value: dict[str, Any] = {"type": metric, "value": round(facts.score.value, 4)}
        if facts.score.signature:
            value["config"] = facts.score.signature
        dataset = {"type": "text", "name": "valid split of the training text", "split": "valid"}
        result = {"task": {"type": facts.tag}, "dataset": dataset, "metrics": [value]}
        tree["model-index"] = [{"name": facts.name, "results": [result]}]
    return "\n".join(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in tree.items())
