"""The subcommands of ``emotion-stream``, one module each, imported only when called."""
