"""Checks of a machine or a cluster before its first night; see `kdspark doctor`. Nothing is changed but probe files."""
