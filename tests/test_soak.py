"""The soak and the kills themselves, for a short while."""

import random

import pytest

from tests import kills, soak


@pytest.mark.product
def test_threads_with_models_that_change_give_what_a_fresh_process_gives():
    counts = soak.soak(seconds=25, threads=3, seed=1)
    assert counts["results"] >= 20
    assert counts["wrong"] == counts["failed"] == []


@pytest.mark.product
@pytest.mark.parametrize("job", ["stream", "evaluate"])
def test_what_is_killed_twice_ends_as_if_it_had_not_been(job, tmp_path):
    row = kills.kill_often(job, 2, random.Random(0), tmp_path)
    assert row["kills"] == 2
    assert row["that differ"] == 0
