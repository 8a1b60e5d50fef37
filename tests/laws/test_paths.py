"""As it runs, traced and by XLA, together and one by one: the same maps, within a tolerance."""

import numpy as np
import pytest
import tensorflow as tf

import tfcam
from tests import networks
from tests.laws.test_untouched import CHEAP
from tests.tolerances import ROUNDED, rounding

# How far a value may be off, as a fraction of the largest.
TOLERANCES = {
    "float32": ROUNDED,
    "mixed_float16": rounding(1.0, count=1, dtype="float16"),
    "mixed_bfloat16": rounding(1.0, count=1, dtype="bfloat16"),
}


class CompiledChain(networks.Chain):
    """A model whose own call is compiled by XLA."""

    @tf.function(jit_compile=True)
    def call(self, x):
        for step in self.steps:
            x = step(x)
        return x


def compiled_call():
    return networks.with_weights(CompiledChain(networks.body() + networks.head()))


def compiled_model():
    model = networks.flat()
    model.compile(jit_compile=True, loss="categorical_crossentropy")
    model.predict(networks.pictures(2), verbose=0)
    return model


@pytest.mark.parametrize("method", ["grad_cam", "guided_backprop", "smooth_grad_cam_pp"])
@pytest.mark.parametrize("make", [compiled_call, compiled_model])
@pytest.mark.thinned(1, kept="slow")
def test_models_that_xla_compiles_have_the_flat_models_map(make, method):
    inputs, options = networks.pictures(2), CHEAP.get(method, {})
    asked = {"layer": "second", "target": [0, 2], "method": method, **options}
    wanted = tfcam.explain(networks.flat(), inputs, **asked).raws
    model = make()
    before = networks.snapshot(model, inputs)
    for _ in range(2):
        found = tfcam.explain(model, inputs, **asked).raws
        off = TOLERANCES["float32"] * np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=off)
    assert networks.snapshot(model, inputs) == before


@pytest.mark.thinned(1, kept="slow")
@pytest.mark.parametrize("policy", TOLERANCES)
def test_calls_as_they_run_traced_and_by_xla_agree(policy):
    model, inputs = networks.in_policy(policy, networks.flat), networks.pictures(2)
    explainer = tfcam.Explainer(model, "second", method="hires_cam")
    eager, traced = (explainer(inputs, [0, 2]).raws for _ in range(2))
    sub, targets = explainer.pipeline.engine.submodel, tf.constant([0, 2])

    @tf.function(autograph=False, jit_compile=True)
    def by_xla(images):
        (reading,), *_ = sub.read(images, targets)
        return tf.reduce_sum(reading.activations * reading.gradients, axis=-1)

    wanted = tfcam.explain(
        networks.flat(), inputs, "second", target=[0, 2], method="hires_cam"
    ).raws
    for found in (eager, traced, by_xla(tf.constant(inputs)).numpy()):
        off = TOLERANCES[policy] * np.abs(wanted).max()
        np.testing.assert_allclose(found, wanted, atol=off)


@pytest.mark.parametrize("method", networks.METHODS)
@pytest.mark.thinned(1)
def test_a_batch_is_its_images_one_by_one_in_parts_or_not(method):
    """Noise too: a seed gives each image the same, whatever it is computed with."""
    model, inputs, targets = networks.flat(), networks.pictures(3), [0, 2, 1]
    options = {"method": method, **CHEAP.get(method, {})}
    layer = None if method == "cam" else "features"
    together = tfcam.explain(model, inputs, layer, target=targets, **options).raws
    parts = tfcam.explain(model, inputs, layer, target=targets, batch_size=2, **options).raws
    alone = [
        tfcam.explain(model, image, layer, target=target, **options).raw
        for image, target in zip(inputs, targets, strict=True)
    ]
    again = tfcam.explain(model, inputs, layer, target=targets, **options).raws
    off = TOLERANCES["float32"] * np.abs(together).max()
    for found in (parts, np.stack(alone), again):
        np.testing.assert_allclose(found, together, atol=off)
    np.testing.assert_array_equal(
        tfcam.explain(model, inputs, layer, target=targets, **options).raws, again
    )
