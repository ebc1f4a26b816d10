"""``worker generate`` and ``worker evaluate``: one worker, by hand or below ``run``."""
