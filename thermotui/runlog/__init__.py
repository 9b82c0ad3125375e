"""The run log: schema, writer, reader, rollups, recovery. Knows no physics and no screen."""
