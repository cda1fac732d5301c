"""Commands about concept vectors."""
