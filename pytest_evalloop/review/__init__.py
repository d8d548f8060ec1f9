"""The human half: traces as they were recorded, and what people say of them."""
