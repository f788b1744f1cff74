"""A trained model in use: library, files, service, and the tools it is called from."""
