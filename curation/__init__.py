"""What to do with what was found: showing it, and choosing from it."""
