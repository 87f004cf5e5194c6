"""The OpenAPI document: made of the route table, the models, and one example of each body."""
