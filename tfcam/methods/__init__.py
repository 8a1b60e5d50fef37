"""Every method, as one pure function of a reading; ``METHODS`` holds them all by name.

Activations and gradients in, raw signed maps out; a file for each family, whose import enters
its methods. One comes here to add a method.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's

# Each family adds its methods to METHODS: whoever asks first, it is whole.
from tfcam.methods import (  # noqa: F401
    cam,
    contrastive,
    full_grad,
    gradients,
    masking,
    perturbation,
    relevance,
    smoothing,
    surrogates,
    transformers,
)
from tfcam.methods.registry import METHODS, Method, method
from tfcam.passes.linear_rules import Composite
from tfcam.passes.reading import Need

__all__ = ["METHODS", "Composite", "Method", "Need", "method"]
