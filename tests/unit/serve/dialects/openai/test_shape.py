"""What OpenAI's routes share: errors with the types that its clients know, counts, the ends of streams."""

from typing import Any

import pytest

from clearhead.serve.dialects.openai.shape import OPENAI, Answering, error_tree, usage
from clearhead.serve.http.request_error import RequestError


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "invalid_request_error"), (401, "authentication_error"), (404, "not_found_error"),
     (413, "invalid_request_error"), (429, "rate_limit_error"), (500, "server_error"), (504, "server_error")],
)  # fmt: skip
def test_errors_have_types(status: int, kind: str) -> None:
    tree = error_tree(RequestError(status, "m", param="p", code="c"))
    assert tree == {"error": {"message": "m", "type": kind, "param": "p", "code": "c"}}


def test_keys() -> None:
    wrong, missing = OPENAI.no_key("x"), OPENAI.no_key("")
    assert wrong.status == missing.status == 401
    assert wrong.code == missing.code == "invalid_api_key"
    assert wrong.headers["WWW-Authenticate"] == "Bearer"
    assert wrong.message != missing.message


def test_an_answer_counts_its_pieces_once(toy_site: Any) -> None:
    def counts() -> list[str]:
        return [line for line in toy_site.metrics.text().splitlines() if line.startswith("clearhead_tokens_total{")]

    answering = Answering.of(toy_site, "cmpl", "text_completion", "lm")
    answering.read, answering.written = 3, 4
    before = counts()
    tree = answering.whole([])
    assert tree["usage"] == usage(3, 4) == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    assert tree["id"].startswith("cmpl-")
    assert tree["created"] > 1_700_000_000
    assert counts() != before
    assert answering.end(usage=False) == ["data: [DONE]\n\n"]
    last, _done = answering.end(usage=True)
    assert '"choices":[]' in last
    assert '"total_tokens":7' in last
    assert answering.part({"a": 1})["choices"] == [{"a": 1}]
