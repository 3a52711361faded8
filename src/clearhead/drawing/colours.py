"""Colours of figures, the same on a page and in a picture: the scale of attention weights, the hues of curves."""

import math

LIGHT = ("#fbfaf7", "#c4e7bb", "#6ed4ae", "#0fb7b1", "#0b94a8", "#04729a", "#01508e", "#203169", "#1d1b37")
"""The scale of weights on a light ground, 0 first: nine stops at equal distances, with sRGB in between.

Lightness falls by equal steps of OKLab (Ottosson 2020, "A perceptual color space for image processing"), and hue goes
from green to violet beside it, so that the order stays in grey and for readers who see fewer hues.
"""
DARK = ("#17152f", "#1e2a5f", "#014883", "#046a8c", "#098b97", "#04af99", "#68cc88", "#c2dc90", "#fbefc2")
"""The same on a dark ground, where lightness rises."""
MARKS = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
"""The weights that a legend names."""
HUES = ("#3266a8", "#b4552d", "#3d8b4f", "#8a4fa3", "#a8862a", "#3a8f95", "#b0406f", "#6b6b6b")
"""Colours of curves, in order; legible on white and on black. Curves of one hue differ in how they are dashed."""


def place(weight: float) -> float:
    """Returns where a weight from 0 to 1 stands on the scale: at its square root, so that small ones are seen too."""
    return math.sqrt(min(max(weight, 0.0), 1.0))


def colour(weight: float, stops: tuple[str, ...] = LIGHT) -> str:
    """Returns the colour of a weight as ``#rrggbb``, between the two stops that it lies between."""
    at = place(weight) * (len(stops) - 1)
    low = min(int(at), len(stops) - 2)
    both = (bytes.fromhex(stop[1:]) for stop in stops[low : low + 2])
    return "#" + "".join(f"{round(a + (at - low) * (b - a)):02x}" for a, b in zip(*both, strict=True))


def ink(weight: float, stops: tuple[str, ...] = LIGHT) -> str:
    """Returns the colour of a number that stands on the colour of a weight: black or white, whichever is legible."""
    shade = colour(weight, stops)
    return "#000000" if _luminance(shade) > 0.179 else "#ffffff"  # where both have the same contrast


def _luminance(shade: str) -> float:
    """Relative luminance as in WCAG 2."""
    parts = [value / 255 for value in bytes.fromhex(shade[1:])]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
