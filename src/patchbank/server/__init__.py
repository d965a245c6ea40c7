"""The service: `patchbank serve`. It needs the extra `server`."""
