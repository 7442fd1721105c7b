"""The wire contract between an edge agent and an aggregator: topics, batches, receipts, quality codes.

Rules
1. Needs only msgspec, numpy, zstandard and pydantic: neither side drags the other's libraries in.
2. Everything here is versioned by `batch.VERSION`; `golden/` holds payloads that both sides must read.
3. No I/O but the bytes handed in and out.
"""
