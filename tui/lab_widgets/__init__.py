"""Parts of the lab's screen."""
