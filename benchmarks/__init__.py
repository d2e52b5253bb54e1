"""What it costs: time and memory, measured on the machine at hand against what people use today."""
