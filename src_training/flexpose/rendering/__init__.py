"""Alpha twice: with numpy and with torch; this file imports neither."""
