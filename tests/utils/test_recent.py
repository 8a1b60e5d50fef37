"""What was used last is kept, the rest let go of."""

from tfcam.utils.recent import Recent


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
