"""What names in `--concepts` stand for beyond the list that ships: own concepts, and imported vectors."""
