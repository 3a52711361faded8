"""What a client is told of an error: its own fault in full, ours without anything from inside."""

import pytest

from clearhead.errors import DataError, ModelError, UsageError
from clearhead.serve.http.request_error import RequestError, error_of, too_many


def test_a_refusal_stays_what_it_is() -> None:
    error = RequestError(418, "no", param="x", code="tea", headers={"A": "b"})
    assert error_of(error) is error
    assert str(error) == "no"


@pytest.mark.parametrize("kind", [DataError, UsageError])
def test_a_wrong_argument_is_told(kind: type[Exception]) -> None:
    found = error_of(kind("text has a lone surrogate"))
    assert (found.status, found.message) == (400, "text has a lone surrogate")


@pytest.mark.parametrize("error", [ModelError("/secret/path is gone"), RuntimeError("secret"), KeyError("secret")])
def test_what_is_inside_stays_there(error: Exception) -> None:
    found = error_of(error)
    assert found.status == 500
    assert "secret" not in found.message


def test_one_too_many_may_come_again() -> None:
    found = too_many("4 wait")
    assert (found.status, found.headers) == (429, {"Retry-After": "1"})
