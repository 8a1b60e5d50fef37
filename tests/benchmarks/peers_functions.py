"""shap and lime, which take a function or a model; ``peers_tf`` runs them.

Nothing here imports tfcam.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tests.benchmarks import peers_work as work
from tests.benchmarks.peers_work import Call, Maker, Subject


def _asking(asked: Subject) -> Callable[[np.ndarray], np.ndarray]:
    """The compiled model, asked for full batches."""
    compiled = tf.function(lambda x: asked.model(x, training=False), reduce_retracing=True)

    def ask(batch: np.ndarray) -> np.ndarray:
        starts = range(0, len(batch), work.AT_ONCE)
        chunks = [tf.constant(batch[at : at + work.AT_ONCE], tf.float32) for at in starts]
        return np.concatenate([compiled(chunk).numpy() for chunk in chunks])

    return ask


def _kernel_shap(asked: Subject) -> Call:
    """KernelExplainer of the parts, its choices hidden by 0."""
    import shap

    numbers, ask, image = work.parts(), _asking(asked), asked.images[0]

    def scores(chosen: np.ndarray) -> np.ndarray:
        return ask(chosen[:, numbers][..., np.newaxis] * image)[:, work.TARGET]

    made = shap.KernelExplainer(scores, np.zeros((1, work.CELLS**2)))
    whole = np.ones((1, work.CELLS**2))
    return lambda: made.shap_values(whole, nsamples=work.MASKS, silent=True)


def _gradients(asked: Subject) -> Call:
    """GradientExplainer, of the class with the largest score alone."""
    import shap

    draw = np.random.default_rng(2)
    others = draw.uniform(-1, 1, (work.SAMPLES, *asked.images.shape[1:])).astype(np.float32)
    made = shap.GradientExplainer(asked.model, others)
    return lambda: made.shap_values(asked.images, nsamples=work.SAMPLES, ranked_outputs=1)


def _deep(asked: Subject) -> Call:
    """DeepExplainer with one background, a picture of zeros."""
    import shap

    made = shap.DeepExplainer(asked.model, np.zeros_like(asked.images[:1]))
    return lambda: made.shap_values(asked.images, ranked_outputs=1, check_additivity=False)


def _lime(asked: Subject) -> Call:
    """LimeImageExplainer of the parts."""
    from lime.lime_image import LimeImageExplainer

    ask, image = _asking(asked), asked.images[0].astype(np.float64)

    def call() -> object:
        return LimeImageExplainer(random_state=0, verbose=False).explain_instance(
            image,
            lambda batch: ask(np.stack(batch)),
            labels=(work.TARGET,),
            top_labels=None,
            hide_color=0,
            num_features=work.CELLS**2,
            num_samples=work.MASKS,
            batch_size=work.AT_ONCE,
            segmentation_fn=lambda _: work.parts(),
        )

    return call


MAKERS: dict[str, dict[str, Maker]] = {
    "shap": {"kernel_shap": _kernel_shap, "expected_gradients": _gradients, "deep_lift": _deep},
    "lime": {"lime": _lime},
}
