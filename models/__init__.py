"""What edge agents and aggregators agree on (`contract`, `bundle`), and the kit that trains models."""
