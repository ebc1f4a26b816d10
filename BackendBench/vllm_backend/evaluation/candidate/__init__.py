"""What runs in a candidate's process. Nothing that it says is believed."""
