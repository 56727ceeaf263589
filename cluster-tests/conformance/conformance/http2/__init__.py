"""An HTTP/2 client that sends whatever it is told to, right or wrong."""
