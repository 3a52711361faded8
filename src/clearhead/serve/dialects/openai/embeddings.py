"""``/v1/embeddings``: vectors of texts, as numbers or in base64."""

import base64
import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clearhead.serve.http.endpoint import Asked
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.site import Site

MOST_INPUTS = 2048
AT_ONCE = 64
"""Texts that are computed before others have their turn."""


class Embeddings:
    """The handler.

    Args:
        site: with the models.
    """

    def __init__(self, site: Site) -> None:
        self.site = site

    async def answer(self, asked: Asked) -> Any:
        """Answers a request."""
        fields = asked.fields
        served = self.site.models.get(fields.text("model"))
        if served.kind != "encoder":
            raise RequestError(400, f"model {served.name!r} gives no vectors", param="model", code="unsupported")
        model, version = served.now.model, served.now
        encoding = fields.choice("encoding_format", "float", ("float", "base64"))
        if "dimensions" in fields and fields.whole("dimensions", model.d_model, 1, 1 << 20) != model.d_model:
            fields.refuse("dimensions", f"must be {model.d_model}, which the model has")
        texts = self._texts(asked, model)

        def embed() -> tuple[NDArray[np.float32], int]:
            count = sum(map(len, model.tokenizer.encode_batch(texts)))
            asked.check_size(count)
            lane = self.site.service.lane_of(model)
            parts = [texts[first : first + AT_ONCE] for first in range(0, len(texts), AT_ONCE)]
            return np.concatenate([lane.run(functools.partial(model.embed, part)) for part in parts]), count

        vectors, count = await asked.call(embed)
        asked.headers["X-Clearhead-Checkpoint"] = version.label
        self.site.metrics.tokens.add("prompt", by=count)
        data = [
            {"object": "embedding", "index": place, "embedding": _written(vector, encoding)}
            for place, vector in enumerate(vectors)
        ]
        counts = {"prompt_tokens": count, "total_tokens": count}
        return {"object": "list", "data": data, "model": served.name, "usage": counts}

    def _texts(self, asked: Asked, model: Any) -> list[str]:
        """Reads ``input``: a text, several, or pieces as numbers."""
        given: Any = asked.fields.tree.get("input")
        if isinstance(given, str) or (isinstance(given, list) and given and _is_piece(given[0], model)):
            given = [given]
        if not isinstance(given, list) or not 1 <= len(given) <= MOST_INPUTS:
            asked.fields.refuse("input", f"must be a string or a list of 1 to {MOST_INPUTS}")
        texts = []
        for each in given:
            if isinstance(each, list) and each and all(_is_piece(index, model) for index in each):
                texts.append(model.tokenizer.decode(each))
            elif isinstance(each, str):
                texts.append(each)
            else:
                asked.fields.refuse("input", "each must be a string or pieces of the model as numbers")
        return texts


def _is_piece(index: object, model: Any) -> bool:
    return isinstance(index, int) and not isinstance(index, bool) and 0 <= index < model.tokenizer.vocab_size


def _written(vector: NDArray[np.float32], encoding: str) -> Any:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return vector.tolist()
