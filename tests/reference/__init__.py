"""Slow float64 versions written from the papers' equations alone; they never import advdpnp."""
