"""Explaining a whole data set into a store of maps.

A store is a folder of Parquet files; a run that was stopped goes on at its last file.
``on_ray.py`` spreads the work over machines.
"""

import tfcam.utils.backend  # noqa: F401  # says so where Keras is not TensorFlow's
