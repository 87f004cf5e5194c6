"""What things are and what follows from what: no I/O, no database, no Ansible."""
