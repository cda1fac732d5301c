"""Low-rank adapters: finding, reading and writing them, and how one begins. No framework is imported here."""
