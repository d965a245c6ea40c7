"""How well banks judge labelled images."""
