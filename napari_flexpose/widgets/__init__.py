"""The widgets of the window: they call the session, the studio and the desk, and mirror them."""
