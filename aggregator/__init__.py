"""The aggregator: takes the gateways' batches from the broker and writes them to a store. Start at `app.py`."""
