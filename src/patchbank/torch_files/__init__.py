"""Files that PyTorch saved, read without PyTorch and without running anything in them."""
