"""Tickets: masks, and where they and the weights of their survivors come from."""
