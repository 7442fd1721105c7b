"""The edge agent: sensor topics in, journalled, cleaned, scored, and sent to an aggregator. Start at `app.py`."""
