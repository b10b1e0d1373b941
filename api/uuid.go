package api

import "github.com/google/uuid"

// UUID is an RFC 4122 identifier, a string in JSON.
type UUID = uuid.UUID
