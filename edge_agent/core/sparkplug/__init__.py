"""Sparkplug B 3.0 as a consumer: births that name what later messages hold, deaths, sequence numbers."""
