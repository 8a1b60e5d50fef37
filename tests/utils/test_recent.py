"""What was used last is kept, the rest let go of."""

import gc

import pytest

from tfcam.utils.recent import Limit, Recent


def test_the_oldest_goes_and_what_is_used_stays():
    made, recent = [], Recent(size=2)

    def get(key):
        return recent.get(key, lambda: made.append(key) or key.upper())

    assert [get(key) for key in "abacab"] == ["A", "B", "A", "C", "A", "B"]
    assert made == ["a", "b", "c", "b"]  # b went when c came
    assert (list(recent), len(recent), "c" in recent) == (["a", "b"], 2, False)


def test_what_could_not_be_made_is_made_again():
    recent = Recent()
    for _ in range(2):
        try:
            recent.get("key", lambda: 1 / 0)
        except ZeroDivisionError:
            assert "key" not in recent
    assert recent.get("key", lambda: 1) == 1


def test_several_share_a_limit_and_what_was_used_longest_ago_goes():
    limit = Limit(3)
    one, other = Recent(limit=limit), Recent(size=2, limit=limit)
    for recent, key in [(one, "a"), (other, "b"), (one, "c"), (one, "a"), (other, "d")]:
        recent.get(key, lambda key=key: [key])
    assert (list(one), list(other), len(limit)) == (["c", "a"], ["d"], 3)  # b went
    assert other.get("b", lambda: "again") == "again"  # and c went for it
    assert (list(one), "c" in one, len(one)) == (["a"], False, 1)
    assert one.get("a", dict) == ["a"]


@pytest.mark.slow
def test_what_is_gone_by_itself_counts_no_more():
    limit = Limit(2)
    kept, gone = Recent(limit=limit), Recent(limit=limit)
    kept.get("a", lambda: [1])
    gone.get("b", lambda: [2])
    del gone
    gc.collect()
    kept.get("c", lambda: [3])
    assert (list(kept), len(limit)) == (["a", "c"], 2)
    for _ in range(5):
        kept.get("a", lambda: [4])
    assert len(limit) == 2
