"""Running the blocks of a study on several devices at once: worker processes, here or on other machines."""
