"""Who may use what: cores, the device, places in flight."""
