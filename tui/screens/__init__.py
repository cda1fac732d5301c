"""One file per screen; ``tui.places`` names them."""
