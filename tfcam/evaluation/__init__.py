"""Comparing methods on a data set: measuring, statistics, results, reports."""
