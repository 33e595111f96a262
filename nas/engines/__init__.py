"""What runs trials: one interface, in this process or by Ray Tune."""
