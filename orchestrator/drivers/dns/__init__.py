"""DNS providers: ensure, read and remove the records of one instance."""
