"""Recipes for failure: remaining useful life with an interval, the probability of failing soon, health."""
