"""Sluice and its peers, held against the rules of the protocols that they speak."""
