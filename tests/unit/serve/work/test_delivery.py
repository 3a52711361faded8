"""Events reach the event loop in order, in portions, and nothing breaks where nobody waits any more."""

import asyncio
import threading
from dataclasses import dataclass
from itertools import pairwise

import pytest

from clearhead.serve.work.delivery import MOST, Delivery, Gathered, Post


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


def test_what_has_piled_up_comes_in_portions_between_which_others_have_their_turn() -> None:
    """A text that is written faster than its client is told of it must not keep the loop from timers and signals."""

    async def main() -> tuple[list[int], list[int]]:
        delivery, found, turns = Delivery(asyncio.get_running_loop()), list[int](), list[int]()
        delivery.receive(list(range(1000)))

        async def others() -> None:
            while len(found) < 1000:
                turns.append(len(found))
                await asyncio.sleep(0)

        task = asyncio.ensure_future(others())
        while len(found) < 1000:
            found += await delivery.next()
        await task
        return found, turns

    found, turns = asyncio.run(main())
    assert found == list(range(1000))
    assert max(after - before for before, after in pairwise(turns)) <= MOST


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
