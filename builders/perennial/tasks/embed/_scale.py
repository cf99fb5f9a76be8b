"""What cosines are multiplied by to be logits, as the encoders were trained with."""

SCALE = 20.0
