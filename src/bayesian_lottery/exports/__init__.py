"""Exports: tickets as networks that run elsewhere."""
