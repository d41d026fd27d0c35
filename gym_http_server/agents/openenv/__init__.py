"""OpenEnv (https://github.com/meta-pytorch/OpenEnv): every environment as one that its clients know."""
