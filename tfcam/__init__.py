"""Which parts of an image made a Keras model decide as it did."""
