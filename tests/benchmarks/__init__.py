"""What explaining costs, in forward passes: ``python -m tests.benchmarks.run``."""
