"""Visual inspection that learns from good images only."""
