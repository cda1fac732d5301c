"""What can be known of a study before it runs: cost, protocol in words, and what would stop it."""
