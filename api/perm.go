package api

import "slices"

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
	PermPeer        Permission = "peer"         // who the other process is, and how one sector is; part of read
	PermSealingPeer Permission = "sealing-peer" // add piece, placement, unseal
	PermStorageRead Permission = "storage-read" // find unsealed files, read them, hold them for reading, share paths
	PermWorker      Permission = "worker"       // claim tasks, declare sectors, move sector files
	PermTasks       Permission = "tasks"        // have work done on sectors, remove them
	PermProve       Permission = "prove"        // have proofs made over stored sectors
	PermLink        Permission = "link"         // open the link of pull mode to a markets node, push bytes over it
)

// AllPermissions lists every permission; an admin token carries them all.
var AllPermissions = []Permission{
	PermRead, PermWrite, PermSign, PermAdmin,
	PermSealingPeer, PermStorageRead, PermWorker, PermTasks, PermProve, PermPeer, PermLink,
}

// RolePermissions is what a role's token carries, whenever it was made: a token of
// a role may do what the role may do now. A markets node does not hold read: what
// the private node's other parts do is none of a public host's business.
func RolePermissions(r Role) ([]Permission, bool) {
	switch r {
	case RoleMarketsPeer:
		return []Permission{PermPeer, PermSealingPeer, PermStorageRead}, true
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

// Implied adds what permissions stand for: admin is all of them, and read holds
// peer. Tokens may be older than a word, or come from Lotus, which knows four.
func Implied(perms []Permission) []Permission {
	switch {
	case slices.Contains(perms, PermAdmin):
		return slices.Clone(AllPermissions)
	case slices.Contains(perms, PermRead) && !slices.Contains(perms, PermPeer):
		return append(slices.Clone(perms), PermPeer)
	}
	return perms
}
