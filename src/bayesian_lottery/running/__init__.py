"""Running: how far a study is, what it takes, and what it asks of a cluster."""
