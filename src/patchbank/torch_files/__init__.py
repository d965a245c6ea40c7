"""Read files saved by PyTorch, without PyTorch and without running anything in them."""
