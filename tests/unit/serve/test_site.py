"""A site has what its routes need, and its threads end with it."""

import threading
from pathlib import Path

from tests.serving import asking, site_of


def test_a_site_that_is_closed_leaves_no_thread(toy_lm_run: Path) -> None:
    before = {thread.ident for thread in threading.enumerate()}
    with site_of([f"lm={toy_lm_run}"]) as site:
        answer = asking(site).post("/v1/completions", {"model": "lm", "prompt": "我", "max_tokens": 3})
        assert answer.status == 200, answer.text
        assert {"engine", "lane_0"} <= {thread.name for thread in threading.enumerate()}
    for thread in threading.enumerate():
        if thread.ident not in before:
            thread.join(20)
            assert not thread.is_alive(), thread.name
