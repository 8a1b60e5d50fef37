"""What a method asks of the explained network."""

import numpy as np
import tensorflow as tf

from tfcam.passes.network import ExplainedNetwork
from tfcam.passes.reading import Words


def test_hidden_words_leave_what_is_of_no_word():
    """As a start, a separator and what fills up a text are there in the unchanged one, too."""
    text = tf.constant([[101, 7, 8, 9, 102, 0]])
    words = Words(tf.constant([[-1, 0, 1, 1, -1, -1]]), tf.constant(103), None)
    network = ExplainedNetwork(None, text, None, 1, 0, None, words)
    np.testing.assert_array_equal(network.hidden, [[101, 103, 103, 103, 102, 0]])
