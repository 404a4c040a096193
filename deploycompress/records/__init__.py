"""What was asked and what was measured: plain records that every layer shares (standard library, pydantic in `report`)."""
