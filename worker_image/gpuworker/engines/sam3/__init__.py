"""SAM3: finds every instance of what a text or an example names; weights come from outside, the rest is here."""
