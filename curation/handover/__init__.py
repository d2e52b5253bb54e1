"""Handing over what was curated: training sets in the formats that others read, and reading them back."""
