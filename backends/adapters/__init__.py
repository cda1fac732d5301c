"""Low-rank adapters on disk: finding them, reading them, writing them. No framework is imported here."""
