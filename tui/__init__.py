"""Looking at the store and driving runs, in a terminal. The only folder that imports textual."""
