"""Float graph + target + statistics -> plan -> 8-bit graph. `plan` decides and gives reasons; emitters only write."""
