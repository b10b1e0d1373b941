package api

import (
	"context"
	"time"

	"github.com/filecoin-project/go-state-types/abi"
)

// LockRequest asks for a leased lock on files of one sector. Readers share,
// a writer excludes. The lease ends unless renewed within TTL.
type LockRequest struct {
	Sector abi.SectorID
	Read   FileType
	Write  FileType
	Holder string        // printed in errors
	TTL    time.Duration // 0 = 30 s
	Wait   time.Duration // 0 = fail at once with ErrLocked
}

// LockLease is a granted lock.
type LockLease struct {
	ID      UUID
	Expires time.Time
}

// Leases keeps those apart who use the files of one sector outside of tasks; a
// task has its files for as long as it is claimed.
type Leases interface {
	// StorageLock gives files of a sector to the caller for a while. Callers without
	// permission worker get unsealed files for reading, others are *ErrPermission. A
	// lease belongs to the token that took it.
	StorageLock(ctx context.Context, r LockRequest) (LockLease, error)                   //perm:storage-read
	StorageRenewLock(ctx context.Context, id UUID, ttl time.Duration) (LockLease, error) //perm:storage-read
	StorageUnlock(ctx context.Context, id UUID) error                                    //perm:storage-read
}
