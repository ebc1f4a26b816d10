"""How fast it is, against eager."""
