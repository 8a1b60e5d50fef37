"""The same store by actors of Ray, also when one of them dies."""

import os
import shutil
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image

import tfcam
from tests.streaming.test_stream import keys_of, same
from tfcam.scenes import draw_scene

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.filterwarnings(
        # Ray's own, of what it forks and of files that it leaves to the collector.
        "ignore::ResourceWarning",
        "ignore::DeprecationWarning:ray",
        "ignore::FutureWarning:ray",
        "ignore::pytest.PytestUnraisableExceptionWarning",
    ),
]
COUNT, ASKED = 40, {"batch_size": 4, "shard_size": 8}


@pytest.fixture(scope="module")
def shapes():
    return tfcam.demo_model()


@pytest.fixture(scope="module", autouse=True)
def cluster():
    """Two processors of this machine, nothing that listens or calls home."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    ray.init(
        num_cpus=2,
        num_gpus=0,
        object_store_memory=100 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={
            "env_vars": {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(Path(__file__).parents[2])}
        },
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT):
        Image.fromarray(draw_scene(number).image).save(home / f"{number:02d}.png")
    (home / "11.png").write_bytes(b"broken")
    return home


@pytest.fixture(scope="module")
def local(shapes, folder, tmp_path_factory):
    """What one process makes."""
    to = tmp_path_factory.mktemp("local")
    tfcam.stream(shapes, folder, to=to, **ASKED)
    return to


@pytest.mark.product
def test_two_actors_make_the_same_store_and_one_process_goes_on_with_it(
    shapes, folder, local, tmp_path
):
    from tfcam.streaming.on_ray import stream_on_ray

    store = stream_on_ray(shapes, folder, to=tmp_path, actors=2, **ASKED)
    assert store.finished
    assert keys_of(store) == keys_of(tfcam.open_store(local))
    assert same(local, tmp_path)
    (tmp_path / "done.json").unlink()  # one process goes on with what several began
    (tmp_path / "maps-00002.parquet").unlink()
    tfcam.stream(shapes, folder, to=tmp_path, **ASKED)
    assert same(local, tmp_path)


@pytest.mark.product
def test_an_actor_that_dies_loses_nothing_and_doubles_nothing(folder, local, tmp_path):
    from tfcam.streaming.on_ray import stream_on_ray

    died = tmp_path / "died"

    def model():
        made = tfcam.demo_model()
        calls = []

        def count(*arguments, **options):
            calls.append(1)
            if len(calls) == 4 and not died.exists():
                died.touch()
                os._exit(1)
            return compute(*arguments, **options)

        from tfcam.explainer import pipeline

        compute, pipeline.Pipeline.compute = pipeline.Pipeline.compute, count
        return made

    from tfcam.explainer.pipeline import Pipeline

    before = Pipeline.compute
    try:
        store = stream_on_ray(model, folder, to=tmp_path / "store", actors=2, **ASKED)
    finally:
        Pipeline.compute = before  # the model is made here as well, to look at it
    assert died.exists()
    assert keys_of(store) == keys_of(tfcam.open_store(local))
    assert same(local, tmp_path / "store")


@pytest.mark.slow
def test_a_damaged_shard_is_done_anew(shapes, folder, local, tmp_path):
    from tfcam.streaming.on_ray import stream_on_ray

    store = tmp_path / "store"
    shutil.copytree(local, store)
    shard = store / "maps-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:1000])
    stream_on_ray(shapes, folder, to=store, actors=1, **ASKED)
    same(store, local)


@pytest.mark.slow
def test_how_many_there_are_must_be_known(shapes, tmp_path):
    from tfcam.streaming.on_ray import stream_on_ray

    def data():
        return tf.data.Dataset.from_tensors(draw_scene(0).image).filter(lambda image: True)

    with pytest.raises(ValueError, match="assert_cardinality"):
        stream_on_ray(shapes, data, to=tmp_path / "store")
