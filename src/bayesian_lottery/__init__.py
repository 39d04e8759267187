"""Winning lottery tickets in Bayesian neural networks: everything that can be called without Snakemake."""
