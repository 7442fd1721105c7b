"""Fits models and exports them as bundles. Needs the extra `train`; nothing that runs at the edge imports it."""
