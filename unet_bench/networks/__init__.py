"""What a U-Net is made of: choices, contracts, layers, the decoder, the whole."""
