"""Where the layers below meet: one function a command, readable from top to bottom, every step judged by one gate."""
