"""What auto-interpretation of very many features takes, from what was measured on few."""
