"""Where inspections are sent to: one module for each kind of receiver."""
