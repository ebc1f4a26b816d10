"""Whether a candidate computes what it should."""
