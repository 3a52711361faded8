"""Tokenizers and models as other libraries write them down: what tests of import and export share."""

import json
import struct
from pathlib import Path
from typing import Any

import tokenizers as hf
import torch
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.small import shake

LINES = [
    "He eats an apple, don't you?",
    "我吃了一个苹果。",
    "a well-known <|endoftext|> apple  12345",
    "[MASK] [CLS] naïve",
]


def byte_level() -> hf.Tokenizer:
    """GPT-2's parts."""
    pipeline = hf.Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pipeline.train_from_iterator(LINES * 3, trainer)
    return pipeline


def wordpiece() -> hf.Tokenizer:
    """BERT's parts, with the cuts and the padding that some files have."""
    pipeline = hf.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pipeline.normalizer = normalizers.BertNormalizer(lowercase=True)
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = decoders.WordPiece()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=120, special_tokens=names, show_progress=False)
    pipeline.train_from_iterator(LINES * 3, trainer)
    pipeline.enable_truncation(4)
    pipeline.enable_padding(length=16)
    return pipeline


def byte_fallback() -> hf.Tokenizer:
    """Llama 2's parts: words by a mark for the space, and bytes for what has no piece."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "p", "pp", "▁a"]
    merges = [("p", "p"), ("▁", "a")]
    model = models.BPE({piece: i for i, piece in enumerate(pieces)}, merges, unk_token="<unk>", byte_fallback=True)
    pipeline = hf.Tokenizer(model)
    pipeline.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    pipeline.decoder = decoders.Sequence(parts)
    pipeline.add_special_tokens(["<unk>", "<s>", "</s>"])
    return pipeline


def write_gpt2(folder: Path, **changes: Any) -> Path:
    """Writes a random GPT-2 with its tokenizer."""
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.manual_seed(0)
    mark = "<|endoftext|>"
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": 300, **changes}
    model = GPT2LMHeadModel(GPT2Config(bos_token_id=0, eos_token_id=0, **sizes))
    model.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=byte_level(), bos_token=mark, eos_token=mark).save_pretrained(folder)
    return folder


def write_llama(folder: Path) -> Path:
    """Writes a random Llama whose tokenizer puts a begin mark in front of every text."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    pipeline = byte_fallback()
    config = LlamaConfig(vocab_size=272, num_key_value_heads=2, max_position_embeddings=64, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    pipeline.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=pipeline, **names).save_pretrained(folder)
    return folder


def write_bert(folder: Path, architecture: str = "BertForPreTraining", **changes: Any) -> Path:
    """Writes a random BERT of a class of theirs, with uneven attention and no bias at zero, and its tokenizer."""
    import transformers

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"vocab_size": 120, "max_position_embeddings": 40}
    config = transformers.BertConfig(**sizes | changes)
    model = getattr(transformers, architecture)(config)
    for parameter in model.parameters():
        parameter.data *= 6 if parameter.dim() > 1 else 1
    shake(model).save_pretrained(folder)
    pipeline = wordpiece()
    pipeline.no_truncation()
    pipeline.no_padding()
    marks = [(name, pipeline.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    pipeline.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", special_tokens=marks
    )
    names = {f"{role}_token": f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=pipeline, model_input_names=inputs, **names)
    fast.save_pretrained(folder)
    return folder


def field(number: int, content: bytes | int) -> bytes:
    """One field of a protocol buffer."""

    def varint(value: int) -> bytes:
        low, rest = value & 0x7F, value >> 7
        return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])

    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def sentencepiece(pieces: dict[str, float], *, trainer: bytes = b"", types: dict[str, int] | None = None) -> bytes:
    """Returns a SentencePiece model: the pieces with their scores after <unk>, <s> and </s>."""
    rows = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    rows += [(piece, score, (types or {}).get(piece, 1)) for piece, score in pieces.items()]
    return b"".join(
        field(1, field(1, piece.encode()) + b"\x15" + struct.pack("<f", score) + field(3, kind))
        for piece, score, kind in rows
    ) + field(2, field(3, 1) + trainer)


SOURCE = {"▁": -3.0, "▁eats": -4.0, "▁an": -4.0, "▁apple": -5.0, **dict.fromkeys("Heatsnplpc.,y'?du", -6.0)}
TARGET = {"▁": -3.0, "苹果": -4.0, "吃了": -4.5, **dict.fromkeys("我他一个吃了苹果。", -6.0)}


def write_marian(folder: Path, **changes: Any) -> Path:
    """Writes a random Marian, with uneven attention and no bias at zero, and its tokenizers."""
    from transformers import MarianConfig, MarianMTModel

    pieces = [*SOURCE, *(piece for piece in TARGET if piece not in SOURCE and piece != "个")]
    numbers = {piece: index for index, piece in enumerate(["</s>", "<unk>", *pieces, "<pad>"])}
    last = len(numbers) - 1
    torch.manual_seed(0)
    sizes = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
    sizes |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "max_position_embeddings": 40}
    ids = {"pad_token_id": last, "eos_token_id": 0, "decoder_start_token_id": last, "bos_token_id": None}
    words = {"vocab_size": len(numbers), "activation_function": "swish", "scale_embedding": True, "init_std": 0.2}
    model = shake(MarianMTModel(MarianConfig(**sizes | ids | words | changes)))
    model.final_logits_bias.normal_()
    model.save_pretrained(folder)
    for name, spelled in (("source", SOURCE), ("target", TARGET)):
        (folder / f"{name}.spm").write_bytes(sentencepiece(spelled))
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False))
    settings = {"source_lang": "en", "target_lang": "zh", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
