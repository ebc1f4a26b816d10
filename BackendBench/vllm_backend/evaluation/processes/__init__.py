"""Processes that hold candidates: made, spoken to, ended."""
