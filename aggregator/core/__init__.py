"""The pure part of the aggregator: bytes and columns in, rows and verdicts out. No I/O, no clock, no threads."""
