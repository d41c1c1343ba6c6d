"""The order of the methods in stored runs beside that of the paper."""
