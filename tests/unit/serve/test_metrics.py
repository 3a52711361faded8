"""Counts: as Prometheus reads them, exact under threads, and with nothing of a client's in their labels."""

import re
import threading

from clearhead.serve.metrics import CONTENT_TYPE, Counter, Gauge, Histogram, Metrics, resident_memory

LINE = re.compile(r'[a-z_]+(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)+\})? -?([0-9.e+-]+|\+Inf)')


def test_a_counter_counts_by_labels() -> None:
    counter = Counter("a_total", "About.", ["one", "two"])
    assert list(counter.lines()) == []
    counter.add("x", 'say "\\"\n')
    counter.add("x", 'say "\\"\n', by=1.5)
    counter.add("b", "c")
    assert list(counter.lines()) == ['a_total{one="b",two="c"} 1', 'a_total{one="x",two="say \\"\\\\\\"\\n"} 2.5']
    assert list(Counter("b_total", "About.").lines()) == ["b_total 0"], "without labels it is there from the start"


def test_a_histogram_is_cumulative() -> None:
    histogram = Histogram("h", "About.", (0.1, 1.0))
    for value in (0.1, 0.05, 0.5, 7.0):
        histogram.see(value)
    assert list(histogram.lines()) == [
        'h_bucket{le="0.1"} 2', 'h_bucket{le="1"} 3', 'h_bucket{le="+Inf"} 4', "h_sum 7.65", "h_count 4",
    ]  # fmt: skip


def test_a_gauge_is_asked_when_somebody_looks() -> None:
    values = {("b",): 2.0, ("a",): 0.1 + 0.2}
    gauge = Gauge("g", "About.", ["model"], lambda: values)
    assert list(gauge.lines()) == ['g{model="a"} 0.30000000000000004', 'g{model="b"} 2']
    values.clear()
    assert list(gauge.lines()) == []


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.requests.add("d", "/", "200")
            metrics.seconds.see(0.2)

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = metrics.text()
    assert 'clearhead_requests_total{dialect="d",path="/",status="200"} 16000' in text
    assert "clearhead_request_seconds_count 16000" in text


def test_the_text_is_well_formed() -> None:
    metrics = Metrics()
    metrics.watch("clearhead_queue_depth", "Requests that wait.", (), lambda: {(): 3.0})
    metrics.requests.add("openai", "/v1/models", "200")
    metrics.cancelled.add("queue")
    text = metrics.text()
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")
    assert text.endswith("\n")
    named: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# "):
            _, word, name, about = line.split(" ", 3)
            assert word in ("HELP", "TYPE")
            assert about
            named[name] = about
        else:
            assert LINE.fullmatch(line), line
            base = re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split(" ")[0])
            assert base in named or line.split("{")[0].split(" ")[0] in named, line
    for name in ("requests_total", "request_seconds", "queue_seconds", "time_to_first_token_seconds", "tokens_total",
                 "batch_rows", "queue_depth", "cancelled_total"):  # fmt: skip
        assert f"clearhead_{name}" in named


def test_memory_is_told() -> None:
    assert 1 << 20 < resident_memory() < 1 << 40
