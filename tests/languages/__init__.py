"""Programs in other languages that use generated clients, and what it takes to make and run them."""
