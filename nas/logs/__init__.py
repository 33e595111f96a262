"""What a search tells is also written down as other tools read it: CSV, TensorBoard, MLflow; one file each."""
