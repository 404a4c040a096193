"""What was asked, what was measured: plain records that every layer shares (standard library; pydantic in two)."""
