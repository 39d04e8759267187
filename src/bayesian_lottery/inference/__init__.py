"""Inference: how a ticket becomes predictions."""
