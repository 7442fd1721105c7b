"""Judges a bundle on the rows that it was not fitted on, by running its own graph; one file a kind."""
