"""What people look at: home, a new server, waiting, the API's list, errors."""
