"""Attention weights of a trained network, measured and recorded."""
