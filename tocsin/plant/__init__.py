"""The simulated plant: machines that fail on schedule, and the replayer of recorded data."""
