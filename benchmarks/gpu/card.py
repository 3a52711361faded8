"""The card: its name, its peak in bfloat16 by data sheet and as measured, and the FLOPs that a model needs."""

import statistics
import time

import torch

# dense TFLOP/s in bfloat16 by NVIDIA's data sheets; the first name that is part of the card's own counts
PEAKS = {
    "GB200": 2500.0,
    "B200": 2250.0,
    "H200 NVL": 835.0,
    "H200": 989.0,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.0,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
    "A10G": 70.0,
    "A10": 125.0,
    "A6000": 155.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
}
GEMM, TINY_GEMM, PRODUCTS = 8192, 256, 12


def wait(device: torch.device) -> None:
    """Returns once the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


def listed_peak(name: str) -> float | None:
    """Returns TFLOP/s of a card by its name; None for one that is not in the table."""
    return next((peak for part, peak in PEAKS.items() if part in name), None)


def measured_peak(device: torch.device, *, tiny: bool) -> float:
    """Returns TFLOP/s of a large product of random bfloat16 matrices: the median of some, after two."""
    size = TINY_GEMM if tiny else GEMM
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(PRODUCTS):
        wait(device)
        started = time.perf_counter()
        torch.mm(left, right)
        wait(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / statistics.median(times[2:]) / 1e12


def facts(device: torch.device, *, tiny: bool) -> dict:
    """Returns what MFU is a share of: the peak by data sheet where the card is known, else the measured one."""
    name = name_of(device)
    listed, measured = listed_peak(name), measured_peak(device, tiny=tiny)
    peak = listed or measured
    return {"card": name, "torch": torch.__version__, "listed": listed, "measured": measured, "peak": peak}


# FLOPs of a token, forward and backward, as appendix B of PaLM (Chowdhery et al. 2022) counts them: 6 for each weight
# that multiplies it, and 12 * layers * features * length for attention, as if nothing were masked. Tables that are only
# looked up do not count, nor does what is computed twice; the output layer does.


def decoder_flops(n: int, d: int, ff: int, vocab: int, length: int) -> float:
    """FLOPs of a token of a GPT."""
    return 6.0 * (n * (4 * d * d + 2 * d * ff) + d * vocab) + 12.0 * n * d * length


def encoder_flops(n: int, d: int, ff: int, vocab: int, length: int, *, share: float) -> float:
    """FLOPs of a token of a BERT whose head sees ``share`` of the positions."""
    return 6.0 * (n * (4 * d * d + 2 * d * ff) + share * (d * d + d * vocab)) + 12.0 * n * d * length


def translation_flops(n: int, d: int, ff: int, vocab: int, sizes: list[tuple[int, int]]) -> float:
    """FLOPs of pairs of so many source and target pieces, padding left out, in n encoder and n decoder layers."""
    per_source = 6.0 * n * (4 * d * d + 2 * d * ff + 2 * d * d)  # and the decoder's keys and values of the memory
    per_target = 6.0 * (n * (6 * d * d + 2 * d * ff) + d * vocab)
    attention = 12.0 * n * d
    return sum(
        src * (per_source + attention * src) + tgt * (per_target + attention * (tgt + src)) for src, tgt in sizes
    )
