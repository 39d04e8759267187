"""Images: where they come from, decoding them once, and the decoded data set on a device."""
