"""Speculative sampling's rule: which of a draft model's pieces stand, and the target model's own piece after them."""

from jaxtyping import Float64, Int
from torch import Tensor

from clearhead.decode.sampling import draw


def accept(
    draft_probs: Float64[Tensor, "drafted vocab"],
    target_probs: Float64[Tensor, "drafted+1 vocab"],
    draft_ids: Int[Tensor, " drafted"],
    uniforms: Float64[Tensor, " drafted+1"],
) -> list[int]:
    """Returns the accepted pieces of the draft and one more: 1 to drafted + 1 pieces, distributed as the target's.

    A piece x is accepted with probability min(1, p(x) / q(x)). The first piece that is not accepted is replaced by a
    draw from max(0, p - q), and those after it are dropped; where all are accepted, the target's last row adds a piece
    (Leviathan et al. 2023, arXiv:2211.17192; Chen et al. 2023, arXiv:2302.01318). With all of p on one piece (greedy)
    the result is that piece, whatever the draft says.

    Args:
        draft_probs: q at each drafted piece, temperature and kept set applied: what the piece was drawn from.
        target_probs: p at each drafted piece and after the last, the same applied.
        draft_ids: the drafted pieces.
        uniforms: in [0, 1), one for each piece's acceptance and one for the draw; independent of each other, of the
            numbers that drew the draft, and of those of earlier calls. ``uniform_of`` gives such: with the piece's
            position and stream 1 for acceptance, with the first piece's position and stream 2 for the draw.

    Raises:
        ModelError: a row to draw from has no probability, or NaN.
    """
    proposed = draft_ids[:, None]
    p = target_probs[:-1].gather(1, proposed)[:, 0]
    q = draft_probs.gather(1, proposed)[:, 0]
    accepted = int((uniforms[:-1] * q < p).int().cumprod(dim=0).sum())
    rest = target_probs[accepted]
    if accepted < len(draft_ids):
        residual = (rest - draft_probs[accepted]).clamp(min=0.0)
        rest = residual if residual.any() else rest  # none but by rounding: p below q somewhere is above it elsewhere
    return [*draft_ids[:accepted].tolist(), int(draw(rest[None], uniforms[-1:]))]
