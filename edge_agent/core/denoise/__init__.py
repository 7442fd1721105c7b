"""Filters, one file each: causal, state in arrays over channels, exact under any cutting into batches."""
