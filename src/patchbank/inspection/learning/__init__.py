"""Good images to a bank with its calibration."""
