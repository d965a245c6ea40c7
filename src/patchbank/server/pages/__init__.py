"""The pages of the service, for people. They ask the routes under `/v1` like any client."""
