"""The demo: everything on one machine, from a simulated plant to stored alarms. Start at `app.py`."""
