"""Requests that wait, take too long or lose their client; searches of a call, and pieces of a stream."""

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearhead.decode.hypotheses import SearchConfig
from clearhead.serve.http.request_error import RequestError
from clearhead.serve.metrics import Metrics
from clearhead.serve.settings import ServeSettings
from clearhead.serve.work.service import Ended, Service
from clearhead.tasks.masked.model import MaskedModel
from tests.native import NATIVE
from tests.serving import asking

TEXTS = ["我吃了一个苹果。", "她们在学校。他喝水。", "护士想在海边散步。"]


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service(ServeSettings(queue=2, timeout=1.0, threads=1), Metrics())
    yield made
    made.close()


async def stays() -> dict[str, Any]:
    await asyncio.Event().wait()
    return {}


async def leaves() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def test_a_call_gives_what_its_function_returns_or_raises(service: Service) -> None:
    async def main() -> None:
        assert await service.call(stays, lambda: 7) == 7
        with pytest.raises(ZeroDivisionError):
            await service.call(stays, lambda: 1 // 0)
        assert (service.waiting, service.running) == (0, 0)

    asyncio.run(main())


def test_what_waits_or_takes_too_long_is_told_so(service: Service) -> None:
    release = threading.Event()

    async def main() -> None:
        async def slow() -> int:
            return await service.call(stays, lambda: service.lane.run(lambda: release.wait(20) and 1))

        first = asyncio.create_task(slow())
        await asyncio.sleep(0.05)
        second = asyncio.create_task(slow())
        with pytest.raises(RequestError) as error:
            await first
        assert error.value.status == 504, "it ran"
        with pytest.raises(RequestError) as error:
            await second
        assert error.value.status == 503, "it only waited"

    asyncio.run(main())
    release.set()
    assert {name: service.metrics.cancelled._values[name,] for name in ("time", "queue")} == {"time": 1, "queue": 1}


@NATIVE
def test_what_the_engine_computes_does_not_wait_for_pytorch(service: Service, toy_masked_run: Path) -> None:
    by_engine, by_torch = (MaskedModel.load(toy_masked_run, device="cpu", engine=name) for name in ("native", "torch"))
    release, asked = threading.Event(), iter(range(9))

    async def main() -> None:
        long = asyncio.create_task(service.call_on_lane(stays, lambda: release.wait(20), service.lane_of(by_torch)))
        while not service.running:
            await asyncio.sleep(0.001)
        assert await service.call_on_lane(stays, lambda: next(asked), service.lane_of(by_engine)) == 0
        behind = asyncio.create_task(service.call_on_lane(stays, lambda: next(asked), service.lane_of(by_torch)))
        await asyncio.sleep(0.05)
        assert not behind.done()
        release.set()
        assert (await long, await behind) == (True, 1)

    asyncio.run(main())


def test_too_many_that_wait_are_refused() -> None:
    service, release = Service(ServeSettings(queue=2, threads=1), Metrics()), threading.Event()

    async def main() -> None:
        calls = []
        for waiting in (0, 1, 2):  # the first runs
            calls.append(asyncio.create_task(service.call(stays, lambda: service.lane.run(lambda: release.wait(20)))))
            while service.waiting != waiting or service.running != 1:
                await asyncio.sleep(0.001)
        with pytest.raises(RequestError) as error:
            await service.call(stays, lambda: 0)
        assert error.value.status == 429
        assert error.value.headers == {"Retry-After": "1"}
        release.set()
        await asyncio.gather(*calls)

    asyncio.run(main())
    service.close()


def test_a_client_that_goes_is_not_computed_for(service: Service) -> None:
    asked: list[bool] = []

    async def main() -> None:
        def call() -> int:
            time.sleep(0.05)
            return service.lane.run(lambda: asked.append(True) or 1)

        with pytest.raises(RequestError) as error:
            await service.call(leaves, call)
        assert error.value.status == 499
        await asyncio.sleep(0.15)

    asyncio.run(main())
    assert asked == []
    assert service.running == 0


def test_a_call_of_a_stream_ends_with_its_error(service: Service) -> None:
    async def read(write: Any, count: int) -> list[Any]:
        return [event async for events in service.stream_call(stays, write, count) for event in events]

    def writes(job: Any, delivery: Any) -> None:
        delivery.send(["a"])
        delivery.send(["b", Ended(0, "ab")])

    def fails(job: Any, delivery: Any) -> None:
        raise ValueError("no")

    assert asyncio.run(read(writes, 1)) == ["a", "b", Ended(0, "ab")]
    with pytest.raises(ValueError, match="no"):
        asyncio.run(read(fails, 1))


@NATIVE
def test_texts_of_a_request_with_other_phrases_do_not_wait_for_each_other(
    toy_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, service, config = toy_site.models.get("mt").now.model, toy_site.service, SearchConfig(5, 2)
    texts, asked = [TEXTS[0], "她们在学校。", TEXTS[2]], {"require": [["tea"], [], ["tea", "the"]]}
    counts, submit = list[int](), service.engine.submit

    def counted(model: Any, works: Any) -> None:
        counts.append(len(works))
        submit(model, works)

    monkeypatch.setattr(service.engine, "submit", counted)

    async def main(texts: list[str], **asked: Any) -> list[list[str]]:
        found = await service.carry_out(stays, model, model.translating(texts, config, **asked), 0)
        return [[one.text for one in ranked] for ranked in found]

    together = asyncio.run(main(texts, **asked))
    assert counts == [3]
    assert together == [[one.text for one in ranked] for ranked in model.n_best(texts, config, **asked)]
    assert asyncio.run(main(["", ""])) == [[""], [""]], "there is nothing to search for"


def test_texts_are_the_same_in_any_company(toy_site: Any) -> None:
    """The searches of many requests at once give what a translator gives that is asked alone."""
    served = toy_site.models.get("mt")
    texts = [f"{text}{other}" for text in TEXTS for other in ("", *TEXTS)]
    alone = [
        asking(toy_site).post("/translate", {"q": text, "source": "zh", "target": "en", "alternatives": 2}).json
        for text in texts
    ]

    async def main() -> list[Any]:
        def call(text: str, size: int) -> Any:
            model = served.now.model
            return toy_site.service.carry_out(stays, model, model.translating([text], SearchConfig(5, 3)), size)

        return await asyncio.gather(*(call(text, number % 2 * 9999) for number, text in enumerate(texts)))

    together = asyncio.run(main())
    for one, (ranked,) in zip(alone, together, strict=True):
        assert one == {
            "translatedText": ranked[0].text,
            "alternatives": [each.text for each in ranked[1:]],
        }
