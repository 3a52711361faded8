"""The page over HTTP: its files, their types, the policy, and nothing else of the package."""

import pytest

from clearhead.serve.page.files import page_files
from tests.serving import Asking


@pytest.mark.parametrize("path", page_files())
def test_each_file_is_sent_as_it_is(toy_asking: Asking, path: str) -> None:
    answer = toy_asking.get(path)
    assert answer.status == 200
    assert (answer.body, answer.headers["content-type"]) == page_files()[path]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


@pytest.mark.parametrize("path", ["/page/files.py", "/page/../files.py", "/page/", "/page/index.html", "/page/x.js"])
def test_nothing_else_is_there(toy_asking: Asking, path: str) -> None:
    assert toy_asking.get(path).status == 404
