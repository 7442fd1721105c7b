"""Runs the kit on public benchmarks and writes the verdicts that their scorers read."""
