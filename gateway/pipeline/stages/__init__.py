"""One class per family of steps: it holds the state of all tags that have the step and calls the family's kernel."""
