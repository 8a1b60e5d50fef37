"""Work in threads: in order, bounded, and over when it is closed."""

import threading
import time

import pytest

from tfcam.utils.prefetch import map_in_order, work_ahead


def counted(limit, made):
    for number in range(limit):
        made.append(number)
        yield number


def test_items_are_made_ahead_but_no_more_than_there_is_room_for():
    made = []
    items = work_ahead(counted(100, made), depth=3)
    assert next(items) == 0
    deadline = time.monotonic() + 20
    while len(made) < 5 and time.monotonic() < deadline:  # used, three waiting, one in hand
        time.sleep(0.01)
    time.sleep(0.3)
    assert made == [0, 1, 2, 3, 4]
    assert list(items) == list(range(1, 100))


def test_what_is_raised_in_the_thread_is_raised_where_it_is_used():
    def broken():
        yield 1
        raise KeyError("two")

    items = work_ahead(broken())
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_closing_ends_the_threads_of_a_chain_and_closes_the_first():
    closed = threading.Event()

    def first():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    before = threading.active_count()
    chain = work_ahead(each + 1 for each in work_ahead(first()))
    assert [next(chain), next(chain)] == [2, 2]
    assert threading.active_count() == before + 2
    chain.close()
    assert closed.is_set()
    assert threading.active_count() == before


def test_results_come_in_order_from_several_threads_at_once():
    both = threading.Barrier(2, timeout=20)  # passes only if two run at once

    def slow(number):
        both.wait()
        time.sleep(0.02 * (number % 2 == 0))
        return number

    assert list(map_in_order(slow, range(6), threads=2, depth=2)) == list(range(6))


def test_no_more_items_are_taken_than_there_is_room_for():
    made = []
    results = map_in_order(abs, counted(100, made), threads=2, depth=4)
    assert next(results) == 0
    assert len(made) == 5
    results.close()
    assert len(made) == 5


def test_what_is_raised_in_one_of_the_threads_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda number: 1 // number, [1, 0, 1], threads=2, depth=2))
