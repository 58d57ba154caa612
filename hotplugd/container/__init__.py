"""What is inside a running container: looking, uevents for those inside, and sealed device nodes."""
