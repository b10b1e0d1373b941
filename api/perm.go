package api

// Permission is a word a token may carry. The four classic words are a set,
// not a ladder: tokens list every word they hold.
type Permission string

// Classic permissions of Lotus.
const (
	PermRead  Permission = "read"
	PermWrite Permission = "write"
	PermSign  Permission = "sign"
	PermAdmin Permission = "admin"
)

// Narrow permissions, for peers that must not hold admin.
const (
	PermSealingPeer Permission = "sealing-peer" // add piece, placement, sector status, unseal
	PermStorageRead Permission = "storage-read" // find sectors, attach shared paths, read unsealed bytes
	PermWorker      Permission = "worker"       // claim tasks, declare sectors, move sector files
	PermTasks       Permission = "tasks"        // have work done on sectors, remove them
	PermProve       Permission = "prove"        // have proofs made over stored sectors
	PermLink        Permission = "link"         // open the link of pull mode to a markets node, push bytes over it
)

// AllPermissions lists every permission; an admin token carries them all.
var AllPermissions = []Permission{PermRead, PermWrite, PermSign, PermAdmin, PermSealingPeer, PermStorageRead, PermWorker, PermTasks, PermProve, PermLink}

// RolePermissions is what a role's token carries.
func RolePermissions(r Role) ([]Permission, bool) {
	switch r {
	case RoleMarketsPeer:
		return []Permission{PermRead, PermSealingPeer, PermStorageRead}, true
	case RoleLink:
		return []Permission{PermLink}, true
	case RoleWorker:
		return []Permission{PermRead, PermStorageRead, PermWorker}, true
	}
	return nil, false
}

// ClassicPermissions expands one of the four words to the list a token of that
// level carries, and nil for anything else.
func ClassicPermissions(p Permission) []Permission {
	switch p {
	case PermRead:
		return []Permission{PermRead}
	case PermWrite:
		return []Permission{PermRead, PermWrite}
	case PermSign:
		return []Permission{PermRead, PermWrite, PermSign}
	case PermAdmin:
		return append([]Permission(nil), AllPermissions...)
	}
	return nil
}
