"""What a model is held against: the plain forward pass, the machine's floor, and a stand-in of its sizes."""
