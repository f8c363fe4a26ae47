"""Losses, the fit of scale and shift to a data set, and fine-tuning."""
