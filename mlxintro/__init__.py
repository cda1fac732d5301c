"""What an experiment is: concepts, vectors, protocols, trials, runner, store, grading, statistics, command line."""
