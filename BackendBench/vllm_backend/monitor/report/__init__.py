"""The report of a run: ``source`` reads, ``collect`` aggregates, ``tables`` puts into words, ``write`` writes."""
