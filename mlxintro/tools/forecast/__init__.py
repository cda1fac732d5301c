"""What a study takes on a machine, told without loading its models."""
