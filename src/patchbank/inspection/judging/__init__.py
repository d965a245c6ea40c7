"""Images against a bank: verdicts, similar images, regions, heatmaps."""
