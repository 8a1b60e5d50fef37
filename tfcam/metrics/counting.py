"""Metrics of a set of images: what is counted, and the number that counts give."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf


class Counting(keras.metrics.Metric):
    """A metric that counts in float64, exact up to 2^53."""

    def _count(self, name: str, *shape: int) -> keras.Variable:
        return self.add_variable(shape, "zeros", "float64", name=name)

    def value(self, *counts: np.ndarray) -> np.ndarray:
        """Compute the metric of counts, one for each variable.

        Args:
            counts: Of the variable's shape; axes before it are those of several sets of images.

        Returns:
            Of the shape of these axes and the result's, float64.
        """
        raise NotImplementedError

    def result(self) -> tf.Tensor:
        """In [0, 1]; 0 without images."""
        return tf.constant(self.value(*map(np.asarray, self.variables)))
