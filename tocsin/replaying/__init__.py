"""What `tocsin edge replay` reads, writes and draws."""
