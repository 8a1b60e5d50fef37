"""What is selected of a model's outputs: a score for each image, and the classes it is of."""

import numpy as np
import tensorflow as tf

from tfcam.passes.outputs import Outputs, select
from tfcam.targets.classes import NOTHING, PREDICTED


def test_a_callable_explains_its_score_and_a_pair_of_no_classes_for_each_image():
    values = tf.constant([[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]])
    selected = select(Outputs(values, values, has_logits=False), lambda outputs: outputs[:, 1])
    np.testing.assert_array_equal(selected.scores, values[:, 1])
    np.testing.assert_array_equal(selected.pairs, [[PREDICTED, NOTHING]] * 3)
