// Package durable writes small files so that after a crash at any instant the
// old or the new content is there, whole.
//
// It does not append, does not lock and does not read: state that changes often
// belongs into a datastore.
package durable
