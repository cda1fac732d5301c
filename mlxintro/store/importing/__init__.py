"""Bringing in what another store holds. Nothing of the other file is trusted."""
