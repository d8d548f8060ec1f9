"""What a loop keeps on disk: the ledger, the commits, the artifacts; nothing here runs a candidate."""
