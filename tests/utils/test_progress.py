"""The progress bar: when it is shown, what it says, and that there is one."""

import io
import threading
import time

import keras
import numpy as np
import pytest
from rich.console import Console

import tfcam
from tfcam.utils import progress
from tfcam.utils.progress import count_step, progress_bar, watched


@pytest.fixture
def terminal(monkeypatch):
    """A terminal that keeps what is written to it; no bar has to wait a second."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, force_interactive=True, width=100)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    monkeypatch.setattr(progress, "_PATIENCE", 0.05)
    return written


@pytest.mark.parametrize("show", [None, False])
def test_where_there_is_no_terminal_nothing_is_shown_unasked(capfd, show):
    with progress_bar(2, "counting", show) as advance:
        advance()
        time.sleep(0.01)
    assert capfd.readouterr() == ("", "")


def test_asked_for_it_is_shown_anywhere_on_the_error_stream(capfd):
    with progress_bar(4, "counting", True, "steps", done=1) as advance:
        for _ in range(3):
            advance()
    out, err = capfd.readouterr()
    assert out == ""
    assert "counting" in err
    assert "4/4, " in err
    assert " steps/s" in err


def test_a_terminal_shows_it_of_work_that_takes_long(terminal):
    with progress_bar(None, "counting", None):
        time.sleep(0.02)
        assert terminal.getvalue() == ""
        time.sleep(0.2)
        assert "counting" in terminal.getvalue()
        assert "0:00:00" in terminal.getvalue()
    assert "/s" not in terminal.getvalue()


def test_short_work_shows_nothing_in_a_terminal(terminal):
    for _ in range(3):
        with progress_bar(2, "counting", None, "steps") as advance:
            advance(2)
    time.sleep(0.1)
    assert terminal.getvalue() == ""


def test_refused_it_is_not_shown_in_a_terminal(terminal):
    with progress_bar(2, "counting", False):
        time.sleep(0.1)
    assert terminal.getvalue() == ""


@pytest.mark.parametrize("outer", [True, False, None])
def test_inside_another_bar_there_is_none(terminal, outer):
    with progress_bar(2, "outer", outer) as advance:
        for _ in range(2):
            with progress_bar(5, "inner", True) as inner:
                inner(5)
            advance()
    assert "inner" not in terminal.getvalue()
    assert ("outer" in terminal.getvalue()) == (outer is True)
    with progress_bar(1, "next", True):
        pass
    assert "next" in terminal.getvalue()


def test_after_a_failure_the_next_bar_is_shown(terminal):
    def fail():
        with progress_bar(2, "failing", True):
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with progress_bar(2, "next", True):
        pass
    assert "next" in terminal.getvalue()


def test_more_may_be_done_already_than_there_is(terminal):
    with progress_bar(3, "counting", True, "pictures", done=1024):
        pass
    assert "3/3, " in terminal.getvalue()


def test_the_steps_of_loops_are_counted_where_parts_can_not_be_told_apart(terminal):
    with progress_bar(None, "explaining", True) as advance:
        for total in (3, 2):  # one loop after the other
            for index in range(total):
                count_step(index, total)
        advance(7)  # what that is of is not known
    assert "5/5" in terminal.getvalue()
    with progress_bar(4, "comparing", True) as advance:
        count_step(0, 9)
        advance(4)
    assert "4/4" in terminal.getvalue()
    assert "/9" not in terminal.getvalue()
    count_step(0, 2)  # without any bar


@pytest.mark.parametrize("freeze", [False, True])
@pytest.mark.parametrize(
    ("method", "options", "steps"),
    [
        ("smooth_grad", {"samples": 24}, 3),  # eight at once
        ("smooth_grad_cam_pp", {"samples": 20}, 4),
        ("integrated_gradients", {"steps": 14}, 2),
        ("score_cam", {"channels": 40}, 5),
    ],
)
@pytest.mark.thinned(1)
def test_methods_that_loop_count_their_steps(capfd, shapes, method, options, steps, freeze):
    image = tfcam.scenes.draw_scene(1).image
    quiet = tfcam.Explainer(shapes, method=method, batch_size=8, progress=False, **options)
    loud = tfcam.Explainer(
        shapes, method=method, batch_size=8, progress=True, freeze=freeze, **options
    )
    for images in (image, image, [image]):
        capfd.readouterr()
        found = loud(images)
        assert f" {steps}/{steps} " in capfd.readouterr().err
    np.testing.assert_allclose(found[0].raw, quiet(image).raw, rtol=1e-3, atol=1e-5)


def test_a_head_that_is_asked_again_and_again_counts_its_steps(capfd):
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", name="map")(inputs)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(4, activation="relu")(x)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    image = np.random.default_rng(0).random((8, 8, 3), np.float32)
    tfcam.explain(model, image, "map", method="ablation_cam", batch_size=2, progress=True)
    assert " 3/3 " in capfd.readouterr().err


@pytest.mark.parametrize("show", ["yes", 1, 0])
def test_anything_but_a_flag_is_refused(show):
    with (
        pytest.raises(TypeError, match="progress must be None, True or False; got"),
        progress_bar(1, "counting", show),
    ):
        pass


def test_what_is_printed_to_a_file_meanwhile_goes_there(terminal, capsys):
    with progress_bar(1, "counting", True):
        print("a result")
    assert capsys.readouterr().out == "a result\n"
    assert "a result" not in terminal.getvalue()


def test_a_notebook_that_can_not_draw_over_its_lines_has_none_unasked(monkeypatch, capfd):
    console = Console(force_jupyter=True, stderr=True)
    monkeypatch.setattr(progress, "Console", lambda stderr: console)
    monkeypatch.setattr(progress, "find_spec", {"ipywidgets": None}.get)
    monkeypatch.setattr(progress, "_PATIENCE", 0.01)
    with progress_bar(2, "counting", None):
        time.sleep(0.05)
    assert capfd.readouterr() == ("", "")


def test_a_watcher_is_told_of_the_whole_alone_and_of_its_own_thread(capfd):
    told, other = [], []

    def work():
        with watched(lambda *step: other.append(step)), progress_bar(1, "other", None) as advance:
            advance()

    with watched(lambda *step: told.append(step)):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        with progress_bar(2, "whole", True) as advance:
            for _ in range(2):
                with progress_bar(3, "part", True) as inner:
                    inner()
                advance()
        with progress_bar(None, "endless", True) as advance:
            advance()  # it is not known how far that is
    assert told == [(0.5, "whole"), (1.0, "whole")]
    assert other == [(1.0, "other")]
    assert capfd.readouterr().err == ""
    with progress_bar(1, "after", True) as advance:
        advance()
    assert len(told) == 2
