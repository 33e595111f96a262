"""What is shown on a terminal: rich only; nothing below this room prints."""
