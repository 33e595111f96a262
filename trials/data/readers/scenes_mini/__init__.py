"""scenes-mini: derived scenes for detection and segmentation out of the box."""
