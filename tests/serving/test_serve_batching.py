"""Concurrent requests share batches, and each gets its own answer."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from served import ColourPredictor, image_bytes, serving

from leannet_runtime.serving import Limits
from leannet_runtime.serving.batcher import Batcher
from leannet_runtime.serving.limits import PixelBudget, Refusal


def test_concurrent_requests_end_in_common_batches_and_are_not_mixed_up():
    predictor = ColourPredictor()
    predictor.open.clear()
    with serving(predictor, max_batch=10) as served, ThreadPoolExecutor(11) as pool:
        first = pool.submit(served.post, image_bytes("red"))
        assert predictor.busy.wait(30)
        colours = [(20 * number, 200 - 20 * number, 7) for number in range(10)]
        others = [pool.submit(served.post, image_bytes(colour)) for colour in colours]
        while served.metric("leannet_queue_images") < 11:
            time.sleep(0.01)
        predictor.open.set()
        assert first.result().status_code == 200
        for (red, green, blue), other in zip(colours, others, strict=True):
            [record] = other.result().json()
            got = dict(zip(record["labels"], record["probabilities"], strict=True))
            whole = red + green + blue + 3
            expected = {"red": (red + 1) / whole, "green": (green + 1) / whole, "blue": (blue + 1) / whole}
            assert got == pytest.approx(expected)
    assert predictor.batches[0] == 1  # nobody else was there, so it did not wait
    assert sum(predictor.batches) == 11
    assert 2 <= max(predictor.batches) <= 6


def test_a_form_is_split_into_batches_of_the_greatest_size():
    predictor = ColourPredictor()
    with serving(predictor, max_batch=4, max_wait_s=60) as served:  # a full batch does not wait
        sent = [("f", (str(number), image_bytes("red"))) for number in range(8)]
        assert served.client.post("/predict", files=sent).status_code == 200
    assert predictor.batches == [4, 4]


def run_alone(pictures):
    return SimpleNamespace(probabilities=np.array([[picture.size[0]] for picture in pictures], float), exits=None)


def picture(number):
    return Image.new("RGB", (number, 1))


def batched(scenario, **options):
    """Run a scenario with a batcher; return its result and the sizes of the batches."""
    sizes = []

    async def inside():
        settings = {"run": run_alone, "max_batch": 8, "max_wait_s": 0.0, "room": 100, **options}
        batcher = Batcher(on_batch=sizes.append, **settings)
        batcher.start()
        try:
            return await asyncio.wait_for(scenario(batcher), 30)
        finally:
            await batcher.close()

    return asyncio.run(inside()), sizes


@pytest.mark.parametrize(("room", "expected"), [(16, [8]), (8, [4, 4]), (6, [3, 3, 2]), (1, [1] * 8), (100, [8])])
def test_a_batch_waits_for_half_of_those_in_the_house(room, expected):
    async def scenario(batcher):
        with batcher.reserve(room):
            return await asyncio.gather(*(batcher.submit(picture(number)) for number in range(1, 9)))

    rows, sizes = batched(scenario, max_wait_s=0.01 if room == 6 else 60)
    assert [row.probabilities[0] for row in rows] == list(range(1, 9))
    assert sizes == expected


def test_one_that_nobody_joins_is_answered_alone():
    async def scenario(batcher):
        return [await batcher.submit(picture(number)) for number in (1, 2)]

    rows, sizes = batched(scenario, max_wait_s=0.01)
    assert [row.probabilities[0] for row in rows] == [1, 2]
    assert sizes == [1, 1]


def test_one_that_was_given_up_is_left_out():
    gate = threading.Event()
    seen = []

    def run(pictures):
        assert gate.wait(30)
        seen.append([each.size[0] for each in pictures])
        return run_alone(pictures)

    async def scenario(batcher):
        first = asyncio.create_task(batcher.submit(picture(1)))
        await asyncio.sleep(0.05)
        given_up, kept = (asyncio.create_task(batcher.submit(picture(number))) for number in (2, 3))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        gate.set()
        return await asyncio.gather(first, kept)

    rows, _ = batched(scenario, run=run)
    assert [row.probabilities[0] for row in rows] == [1, 3]
    assert seen == [[1], [3]]


def test_room_is_given_back_and_the_time_to_wait_is_told():
    batcher = Batcher(run_alone, 8, 0.0, room=10)
    with batcher.reserve(7):
        with pytest.raises(Refusal) as refused, batcher.reserve(4):
            pass
        assert refused.value.status == 503
        assert int(refused.value.headers["Retry-After"]) >= 1
        with batcher.reserve(3):
            assert batcher.reserved == 10
    assert batcher.reserved == 0


def test_pixels_in_memory_stay_within_the_budget():
    """Images of 1 to 12 pixels, and one of 50, through a budget of 10: each gets in, never too many at a time."""
    inside, most, order = 0, 0, []

    async def one(budget, pixels):
        nonlocal inside, most
        async with budget.hold(pixels):
            inside += min(pixels, 10)
            most = max(most, inside)
            order.append(pixels)
            try:
                await asyncio.sleep(0.001)
            finally:
                inside -= min(pixels, 10)

    async def scenario():
        budget = PixelBudget(10)
        wanted = [3, 50, 1, 12, *range(1, 11), 2, 5]
        tasks = [asyncio.create_task(one(budget, pixels)) for pixels in wanted]
        await asyncio.sleep(0)
        tasks[4].cancel()  # waits
        tasks[0].cancel()  # is in
        await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.free == 10
        return wanted

    wanted = asyncio.run(scenario())
    assert most == 10
    assert order == [*wanted[:4], *wanted[5:]]


def test_large_images_wait_for_each_other_but_all_are_answered():
    with serving(limits=Limits(pixels=100 * 100)) as served:
        sent = [("f", (str(number), image_bytes("green", (90, 90 + number)))) for number in range(12)]
        answer = served.client.post("/predict", files=sent)
        assert [record["labels"][0] for record in answer.json()] == ["green"] * 12
