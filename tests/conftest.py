"""Fixtures shared by the tests: where the real data is, and small networks with known answers."""

import gc
import re
from collections.abc import Generator
from pathlib import Path

from tests.project import DATA, find_keras_home

find_keras_home()

import keras  # noqa: E402
import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import tensorflow as tf  # noqa: E402

import tfcam  # noqa: E402

matplotlib.use("Agg")

# Traces leave many objects in circles: by default a tenth of the time goes into looking for them,
# most of it among what the imports above have made, which stays.
gc.freeze()
gc.set_threshold(50_000, 20, 50)

# TensorFlow's words where it has no convolution with channels first, as without oneDNN, or none in
# bfloat16, as with oneDNN on processors that know no such numbers.
_NO_KERNEL = re.compile(
    "only supports (the )?NHWC|could not create a primitive descriptor for the convolution"
)


def _skipped_without_kernel() -> Generator[None, object, object]:
    try:
        return (yield)
    except tf.errors.OpError as error:
        if lacking := _NO_KERNEL.search(str(error)):
            pytest.skip(f"TensorFlow has no such convolution on this processor: {lacking.group()}")
        raise


# The files that take longest: whoever took one of them last would leave the other core idle.
_LONGEST = [
    "test_notebooks",
    "test_dogs_study",
    "test_evidence",
    "test_gallery",
    "test_dogs_training",
    "test_explainer",
    "test_dream",
    "test_untouched",
    "test_callbacks",
    "test_applications",
]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test marked thinned(n) only n cases, spread evenly over all, are fast.

    The others are marked "product" and are no part of ``.ci/run``, or what ``rest`` says. With
    ``kept="slow"`` those n are slow.
    """
    items.sort(key=lambda item: [item.path.stem == name for name in _LONGEST], reverse=True)
    cases: dict[tuple[object, str], list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("thinned") is not None:
            cases.setdefault((item.parent, getattr(item, "originalname", "")), []).append(item)
    for several in cases.values():
        thinned = several[0].get_closest_marker("thinned")
        (count,), kept_as = thinned.args, thinned.kwargs.get("kept")
        rest = thinned.kwargs.get("rest", "product")
        kept = {index * len(several) // count for index in range(count)}
        for index, item in enumerate(several):
            if index in kept and kept_as is not None:
                item.add_marker(getattr(pytest.mark, kept_as))
            elif index not in kept:
                item.add_marker(getattr(pytest.mark, rest))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    return (yield from _skipped_without_kernel())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    return (yield from _skipped_without_kernel())


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real weights and pictures; the test is skipped where there is none."""
    if not DATA:
        pytest.skip("real weights and pictures are needed: set TFCAM_TEST_DATA to their folder")
    return Path(DATA).resolve()


@pytest.fixture(scope="session")
def mobilenet(data: Path) -> keras.Model:
    """MobileNetV2 with its ImageNet weights."""
    return keras.applications.MobileNetV2(weights="imagenet")


@pytest.fixture(scope="module")
def shapes() -> keras.Model:
    """The embedded model."""
    return tfcam.demo_model()


@pytest.fixture
def at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shapes: keras.Model) -> Path:
    """An empty folder in which commands are typed; the embedded model is loaded once for them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfcam.demo.demo_model", lambda: shapes)
    return tmp_path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    keras.utils.set_random_seed(7)
