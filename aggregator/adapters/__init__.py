"""Everything that touches the outside: the broker and the stores. Only `aggregator.app` knows these modules."""
