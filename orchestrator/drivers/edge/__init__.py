"""What is published at the edge: planned, recorded before it is made, and withdrawn from its record."""
