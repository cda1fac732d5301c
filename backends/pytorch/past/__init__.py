"""What a forward pass sees of earlier tokens: keys and values, states that layers carry, masks."""
