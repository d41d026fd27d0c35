"""Generated requests: schemathesis and hypothesis, held to what a deployment can be asked."""
