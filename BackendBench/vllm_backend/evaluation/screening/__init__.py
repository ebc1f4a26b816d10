"""Reads a candidate's source before anything of it runs."""
