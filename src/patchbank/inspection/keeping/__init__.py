"""What is kept and carried: bank files, networks, the state of the installation."""
