"""What binds a widget to the SDK, one thin file each."""
