"""Pictures that make a part of a network respond most: activation maximisation."""
