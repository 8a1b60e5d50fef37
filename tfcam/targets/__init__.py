"""What is explained: the number, computed from a model's outputs, that a map explains.

A target is called with the outputs of a batch and gives one number for each example.
One comes here to add a task.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
from tfcam.targets.classes import Difference, Top
from tfcam.targets.detection import Box
from tfcam.targets.regression import Regression
from tfcam.targets.segmentation import Segmentation
from tfcam.targets.similarity import Similarity
from tfcam.targets.tagging import Tag

__all__ = ["Box", "Difference", "Regression", "Segmentation", "Similarity", "Tag", "Top"]
