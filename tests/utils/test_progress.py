"""The progress bar: when it is shown, what it says, and that there is one."""

import io
import time

import pytest
from rich.console import Console

from tfcam.utils import progress
from tfcam.utils.progress import progress_bar


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
