"""What injected thoughts are analysed with: rows, evidence, verdict."""
