"""Labels of people: one pose a frame (`label`), and the project that keeps them (`project`)."""
