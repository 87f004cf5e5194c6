"""Operations: showing, listing, cancelling and retrying them."""
