"""ketchd: configuration, wiring, signals, systemd."""
