"""What is known of a model: its layers, inputs, calls, head, labels and family."""
