"""Bring the ledger in line with what S3 holds, after the ledger was lost."""
