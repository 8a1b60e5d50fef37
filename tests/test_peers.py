"""The table of other packages: what it names exists, and it marks who is faster."""

import importlib

import pytest

import tfcam
from tests.benchmarks import peers_page
from tests.benchmarks.peers_own import MAKERS
from tests.benchmarks.peers_work import WORK, Subject, measure

MACHINE = dict.fromkeys(
    (
        "processor",
        "cores",
        "memory_gib",
        "system",
        "tensorflow",
        "keras",
        "numpy",
        "python",
        "load",
    ),
    "-",
)


def package(name, *rows):
    return {"package": name, "version": "1", "rows": list(rows)}


def row(method, seconds, batch=1, forward=0.1):
    return {
        "method": method,
        "batch": batch,
        "seconds": {"peer": seconds, "forward": [forward] * 3},
    }


def results(*peers):
    own = package(
        "tfcam", row("cam", [0.9, 0.2, 0.2]), row("cam", [0.5] * 3, 8), row("rise", [1.0] * 3)
    )
    return {"machine": MACHINE, "packages": [own, *peers]}


def lines(*peers):
    return peers_page.table(results(*peers)).splitlines()[2:]


def test_all_that_is_compared_is_measured_of_tfcam():
    assert list(MAKERS) == list(WORK)
    for names in WORK:
        for name in names.split(" + "):
            assert name in tfcam.METHODS or name in tfcam.metrics.__all__


def test_a_row_has_medians_beside_those_of_tfcam():
    (line,) = lines(package("shap", row("cam", [0.3, 0.3, 9.0])))
    assert line == "| `cam` | shap 1 | 300 (3.00) | 200 (2.00) |  |  |  |"


@pytest.mark.parametrize(("name", "batches"), [("shap", "1, 8"), ("captum", "1")])
def test_who_is_faster_is_marked_by_the_batch(name, batches):
    """On TensorFlow in forward passes, which are of one program; on PyTorch in time."""
    peer = package(name, row("cam", [0.1] * 3), row("cam", [0.6] * 3, 8, forward=0.2))
    (line,) = lines(peer)
    assert line.endswith(f"| **faster**: {batches} |")
    assert peers_page.faster(results(peer)) == ["cam"]


@pytest.mark.parametrize("reasons", [{}, {"cam": "It is.", "rise": "Not said."}])
def test_the_reasons_are_those_of_what_is_marked(reasons, monkeypatch):
    monkeypatch.setattr(peers_page, "REASONS", reasons)
    page = peers_page.page(results(package("shap", row("cam", [0.1] * 3))))
    assert ("- `cam`: It is." in page) == bool(reasons)
    assert "Not said." not in page


def test_what_stops_a_package_is_said_shortly():
    error = "RuntimeError: a | b " + "and so on " * 50
    one, whole = lines(
        package("shap", {"method": "rise", "batch": 1, "error": error}),
        {"package": "lime", "error": "ImportError: none"},
    )
    assert one.startswith(
        "| `rise` | shap 1 |  | 1000 (10.0) |  |  | RuntimeError: a / b and so on"
    )
    assert len(one) < 200
    assert whole == "| all | lime |  |  |  |  | ImportError: none |"


def test_what_takes_long_is_timed_in_fewer_rounds_and_an_error_is_kept(monkeypatch):
    work = importlib.import_module("tests.benchmarks.peers_work")
    monkeypatch.setattr(work, "LONG", 0.0)

    def fail(asked):
        raise ValueError("no such layer\nmore")

    makers = {"rise": lambda asked: list, "lime": fail}
    made = measure("pytest", makers, lambda *_: Subject("", None, None, list), rounds=9)
    slow, failed = made["rows"]
    assert [len(each) for each in slow["seconds"].values()] == [3, 3]
    assert failed == {"method": "lime", "batch": 1, "error": "ValueError: no such layer"}
