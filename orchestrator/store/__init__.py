"""The only SQL: verbs on customers, orders, operations and instances. PostgreSQL is the one source of truth."""
