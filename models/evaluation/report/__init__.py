"""The report of a model: one HTML file with its pictures inside, which needs nothing from elsewhere."""
