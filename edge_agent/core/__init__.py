"""The pure centre: no I/O, no clock, no threads. Time is an argument; results are a function of the journal."""
