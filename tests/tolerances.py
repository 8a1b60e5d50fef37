"""How far float32 may be off: the tests' tolerances, derived instead of found on one machine.

Processors add in different orders, and each order rounds otherwise. What float32 holds of a sum is
relative to the largest terms in it, of which a difference may leave little.
"""

import numpy as np

EPSILON = float(np.finfo(np.float32).eps)
SPARE = 10.0  # no processor is known that comes nearer to a bound than a tenth of it


def rounding(*terms: object, count: int = 8) -> float:
    """Bound the error of what float32 makes of terms.

    Args:
        terms: What is added and subtracted, before anything cancels: arrays of any shape.
        count: How many roundings of the largest term may add up.

    Returns:
        The bound of the absolute error, in the unit of the terms, with ``SPARE`` to spare.
    """
    return SPARE * count * EPSILON * max(float(np.abs(term).max()) for term in terms)


# The bound of a relative error where no terms cancel.
ROUNDED = rounding(1.0)


def ablation_rounding(scores: object, activations: object) -> float:
    """Bound the error of sum_k (y - y_k) A_k: a weight keeps the digits that y and y_k don't share.

    Args:
        scores: The scores y.
        activations: The activations A (..., K).
    """
    return rounding(scores) * float(np.abs(activations).sum(-1).max())


def relative(found: object, wanted: object) -> float:
    """Return the largest difference of two arrays of one shape, relative to the largest value."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-30)
