"""Images, networks and patch features; independent of banks and the database."""
