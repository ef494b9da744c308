"""The application of the Django program."""
