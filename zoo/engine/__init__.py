"""SAM 3 itself: torch and transformers, no FiftyOne."""
