"""What a tokenizer does to bytes: bytes of tokens, alignment of two tokenisations, vocabularies compared. None of it is a loss."""
