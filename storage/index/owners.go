package index

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"

	"quarry/api"
	"quarry/storage/access"
)

// thisNode is the identity of the process of the index. Tokens have others: a UUID,
// or a hash with its name before it.
const thisNode = "this node"

// maxURLs bounds the URLs that one token owns.
const maxURLs = 256

// caller is who calls, as far as paths, files and leases are concerned.
type caller struct {
	id     string // whose that is what it attaches
	all    bool   // it may act for everybody: the process itself, or an admin
	serves bool   // it may have files and serve them: a worker
	self   bool
}

func callerOf(ctx context.Context) caller {
	c, outside := api.CallerOf(ctx)
	if !outside {
		return caller{id: thisNode, all: true, serves: true, self: true}
	}
	all := c.May(api.PermAdmin)
	return caller{id: "token " + c.Token, all: all, serves: all || c.May(api.PermWorker)}
}

// is tells whether the caller may act for an owner.
func (c caller) is(owner string) bool { return c.all || c.id == owner }

// may refuses what callers without files of their own have no right to.
func (c caller) may(method string, kinds, write api.FileType) error {
	if c.serves || write == 0 && kinds&^api.FileUnsealed == 0 {
		return nil
	}
	what := kinds.String()
	if write != 0 {
		what = "changing"
	}
	return &api.ErrPermission{Method: method + " (" + what + ")", Need: api.PermWorker}
}

// own makes a URL the caller's where it is nobody's. It is on disk before it
// counts. The caller holds mu.
func (x *Index) own(ctx context.Context, who caller, base string) error {
	owner, taken := x.owners[base]
	switch {
	case taken && owner == who.id, taken && who.all && !who.self && x.valid(owner):
		return nil
	case taken && !who.self && x.valid(owner):
		return &api.ErrInvalid{
			What:   "URL " + base,
			Reason: "it belongs to another token, which attached it first",
			Hint: "use that token, give this process another URL, or revoke that token on the private node (miner auth " +
				"list, miner auth revoke)",
		}
	}
	if err := x.roomFor(ctx, who); err != nil {
		return err
	}
	if x.deps.Store != nil {
		if err := x.deps.Store.Put(ctx, ownerKey(base), []byte(who.id)); err != nil {
			return fmt.Errorf("remember whose URL %s is: %w", base, err)
		}
		if err := x.deps.Store.Sync(ctx, ownerKey(base)); err != nil {
			return fmt.Errorf("remember whose URL %s is: %w", base, err)
		}
	}
	x.owners[base] = who.id
	for _, e := range x.paths { // what the former owner said of it is not believed any more
		if h := e.keepers[base]; h != nil {
			h.owner = who.id
		}
	}
	return nil
}

// roomFor keeps what one token owns below the limit: URLs that it does not use any
// more go first.
func (x *Index) roomFor(ctx context.Context, who caller) error {
	var has []string
	for base, owner := range x.owners {
		if owner == who.id {
			has = append(has, base)
		}
	}
	if len(has) < maxURLs {
		return nil
	}
	before := len(x.owners)
	for _, base := range has {
		if err := x.disown(ctx, base); err != nil {
			return err
		}
	}
	if len(x.owners) == before {
		return &api.ErrInvalid{
			What:   "another URL",
			Reason: fmt.Sprintf("this token serves paths under %d URLs already", maxURLs),
			Hint:   "detach some",
		}
	}
	return nil
}

// disown makes a URL free that no path is served under. The caller holds mu.
func (x *Index) disown(ctx context.Context, base string) error {
	if x.servesAt(base) {
		return nil
	}
	if x.deps.Store != nil {
		if err := x.deps.Store.Delete(ctx, ownerKey(base)); err != nil {
			return fmt.Errorf("forget whose URL %s is: %w", base, err)
		}
	}
	delete(x.owners, base)
	return nil
}

// servesAt tells whether a path is attached under a URL. The caller holds mu.
func (x *Index) servesAt(base string) bool {
	for _, e := range x.paths {
		if e.keepers[base] != nil {
			return true
		}
	}
	return false
}

func (x *Index) valid(owner string) bool {
	token, is := cutToken(owner)
	return !is || x.deps.Valid == nil || x.deps.Valid(token)
}

func cutToken(owner string) (token string, ok bool) {
	const before = "token "
	if len(owner) < len(before) || owner[:len(before)] != before {
		return "", false
	}
	return owner[len(before):], true
}

func ownerKey(base string) datastore.Key {
	return datastore.NewKey(base64.RawURLEncoding.EncodeToString([]byte(base)))
}

// loadOwners reads whose URLs are. A row that cannot be read is as good as none,
// and is said.
func (x *Index) loadOwners(ctx context.Context) error {
	if x.deps.Store == nil {
		return nil
	}
	res, err := x.deps.Store.Query(ctx, query.Query{})
	if err != nil {
		return fmt.Errorf("read whose URLs are: %w", err)
	}
	defer res.Close() //nolint:errcheck // read only
	for e := range res.Next() {
		if e.Error != nil {
			return fmt.Errorf("read whose URLs are: %w", e.Error)
		}
		base, err := base64.RawURLEncoding.DecodeString(datastore.RawKey(e.Key).BaseNamespace())
		if clean, cerr := access.CleanBase(string(base)); errors.Join(err, cerr) != nil || clean != string(base) || len(e.Value) == 0 {
			x.deps.Log.Warn("a row that says whose a URL is cannot be read; the URL is free", "key", e.Key)
			continue
		}
		x.owners[string(base)] = string(e.Value)
	}
	return nil
}

// StorageFileBearer implements [api.Index]: only for addresses of processes that
// have a path attached now.
func (x *Index) StorageFileBearer(ctx context.Context, use api.FileUse) (api.FileBearer, error) {
	f, err := access.ParseURL(use.URL)
	if err != nil {
		return api.FileBearer{}, err
	}
	deleted := api.FileType(0)
	if use.Delete {
		deleted = f.Type
	}
	if err := callerOf(ctx).may("StorageFileBearer", f.Type, deleted); err != nil {
		return api.FileBearer{}, err
	}
	x.mu.Lock()
	known := x.servesAt(f.Base)
	x.mu.Unlock()
	if !known {
		return api.FileBearer{}, &api.ErrNotFound{What: "a process that serves sector files at " + f.Base,
			Hint: "ask again where the file is"}
	}
	return x.deps.Signer.Bearer(f, use.Delete)
}

// StorageFileKey implements [api.Index].
func (x *Index) StorageFileKey(context.Context) (api.FileKey, error) {
	return x.deps.Signer.Public(), nil
}
