def test_val_bpb(val_bpb):
    """Unseen text costs at most five bits a byte."""
    assert val_bpb <= 5.0
