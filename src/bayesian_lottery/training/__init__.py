"""Training: from a ticket's files to its results."""
