"""Events reach the event loop in order, in portions, and nothing breaks where nobody waits any more."""

import asyncio
import threading

from clearhead.serve.work.delivery import Delivery, Post


def test_a_step_wakes_the_loop_once_for_all_requests() -> None:
    async def main() -> tuple[list[int], list[int]]:
        loop, post = asyncio.get_running_loop(), Post()
        one, other = Delivery(loop), Delivery(loop)
        for event in (1, 2):
            post.put(one, event)
        post.put(other, 3)
        thread = threading.Thread(target=post.send)
        thread.start()
        found = await one.arrived.get(), await other.arrived.get()
        thread.join()
        post.send()  # has nothing
        assert one.arrived.empty()
        return found

    assert asyncio.run(main()) == ([1, 2], [3])


def test_who_has_gone_is_no_error() -> None:
    loop = asyncio.new_event_loop()
    delivery, post = Delivery(loop), Post()
    loop.close()
    delivery.send([1])
    post.put(delivery, 2)
    post.send()
