"""The front door: the command `tocsin`, the demo with its simulated plant, and the replayer of recorded data."""
