"""What a student is trained with: divergences, their fused form, ULD, and the `tree` loss for two tokenizers."""
