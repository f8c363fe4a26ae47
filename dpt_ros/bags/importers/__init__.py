"""Data sets of others, read in their own layouts: foreign names end here."""
