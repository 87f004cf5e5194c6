"""What a player sees: the Minecraft status ping, probes of other games, and the whole way through the edge."""
