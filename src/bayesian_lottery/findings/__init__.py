"""Findings: what a study has found, as tables, claims and figures."""
