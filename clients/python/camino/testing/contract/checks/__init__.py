"""What is proved, one kind of promise in each module: `cases` gives what to run."""
