"""Every random stream comes from a name, so that adding one stream changes no other."""

import hashlib

import torch


def seed_of(*coordinates: object) -> int:
    """A 63-bit seed that depends on the coordinates' text and order, equal on every machine."""
    text = "/".join(map(str, coordinates))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*coordinates: object, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for the stream named by `coordinates`."""
    return torch.Generator(device).manual_seed(seed_of(*coordinates))
