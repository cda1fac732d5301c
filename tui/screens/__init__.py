"""One file per screen; ``tui.shell.places`` names them."""
