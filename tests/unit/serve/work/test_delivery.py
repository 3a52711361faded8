"""Events reach the event loop in order, in portions, and nothing breaks where nobody waits any more."""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from clearhead.serve.work.delivery import Delivery, Gathered, Post


@dataclass(frozen=True)
class Place:
    """A text by where it stands in its request."""

    place: int


def test_a_step_wakes_the_loop_once_for_all_requests() -> None:
    async def main() -> tuple[list[int], list[int]]:
        loop, post = asyncio.get_running_loop(), Post()
        one, other = Delivery(loop), Delivery(loop)
        for event in (1, 2):
            post.put(one, event)
        post.put(other, 3)
        thread = threading.Thread(target=post.send)
        thread.start()
        found = await one.next(), await other.next()
        thread.join()
        post.send()  # has nothing
        assert not one.next().done()
        return found

    assert asyncio.run(main()) == ([1, 2], [3])


def test_who_has_gone_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    delivery, post = Delivery(loop), Post()
    loop.close()
    delivery.send([1])
    post.put(delivery, 2)
    post.send()


def test_all_results_come_together_or_the_first_error() -> None:
    async def main(results: list[object], *, cancelled: bool = False) -> object:
        loop, post = asyncio.get_running_loop(), Post()
        gathered = Gathered(loop, len(results), post)
        if cancelled:
            gathered.all.cancel()
        places = [Place(place) for place in range(len(results))]
        threads = [
            threading.Thread(target=lambda one=one, result=result: (gathered.take(one, result), post.send()))
            for one, result in reversed(list(zip(places, results, strict=True)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)
        return None if cancelled else await gathered.all

    assert asyncio.run(main(["a", "b", "c"])) == ["a", "b", "c"]
    with pytest.raises(KeyError):
        asyncio.run(main(["a", KeyError("b"), ValueError("c")]))
    asyncio.run(main(["a"], cancelled=True))
