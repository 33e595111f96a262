"""What is asked of a finished run: noise, trust, ablation."""
