"""Anomaly recipes: each file fits one kind of model on machines that are well, and writes it into a graph."""
