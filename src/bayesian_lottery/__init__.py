"""Winning lottery tickets in Bayesian neural networks: all that works without Snakemake."""
