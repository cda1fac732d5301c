"""Commands that show what ships: concepts and presets."""
