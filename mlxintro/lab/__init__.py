"""One prompt tried by hand, with and without a vector."""
