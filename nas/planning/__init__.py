"""What a search may take: how it is divided, whether another training fits, and when it is enough."""
