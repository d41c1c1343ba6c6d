"""Readers of file formats that no library reads safely."""
