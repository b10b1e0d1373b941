package fetch

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"sync"
	"time"

	"quarry/api"
	"quarry/internal/httpx"
)

// Bearers makes bearers for single files; a part of api.Index. Nothing else is ever
// shown to a server: its address came from others.
type Bearers interface {
	StorageFileBearer(ctx context.Context, use api.FileUse) (api.FileBearer, error)
}

const (
	maxPurse = 1024             // bearers that are kept
	mintTime = 30 * time.Second // to get one
)

// purse keeps bearers while they are good and gets others in time.
type purse struct {
	from Bearers

	mu   sync.Mutex
	kept map[api.FileUse]*kept
}

// kept is one bearer. Its own lock is held while another is made, so that all who
// want it wait for one.
type kept struct {
	mu     sync.Mutex
	token  string
	renew  time.Time
	failed error // of the last try to renew it
}

func newPurse(from Bearers) *purse { return &purse{from: from, kept: map[api.FileUse]*kept{}} }

// fileURL takes the address of a file, or of a part of it, apart.
var fileURL = regexp.MustCompile(`^(.*/(?:unsealed|sealed|cache|update|update-cache)/s-[tf]0[0-9]+-[0-9]+)` +
	`(?:/(?:file|allocated)/[^?]*)?(?:\?.*)?$`)

func useOf(method, addr string) api.FileUse {
	if m := fileURL.FindStringSubmatch(addr); m != nil {
		addr = m[1]
	}
	return api.FileUse{URL: addr, Delete: method == http.MethodDelete}
}

// source gives an address with its bearer, and with others while it is read.
func (p *purse) source(ctx context.Context, method, addr string) (httpx.Source, error) {
	if p.from == nil {
		return httpx.Source{URL: addr}, nil
	}
	use := useOf(method, addr)
	if _, err := p.bearer(ctx, use); err != nil {
		return httpx.Source{}, err
	}
	return httpx.Source{URL: addr, Bearer: func() string {
		token, _ := p.bearer(ctx, use) // the old one, if any: why there is no other is told when it is refused
		return token
	}}, nil
}

// bearer gives one that is good for some time, or else the last one with an error.
func (p *purse) bearer(ctx context.Context, use api.FileUse) (string, error) {
	k := p.slot(use)
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if now.Before(k.renew) {
		return k.token, nil
	}
	one, cancel := context.WithTimeout(ctx, mintTime)
	defer cancel()
	got, err := p.from.StorageFileBearer(one, use)
	if k.failed = err; err != nil {
		return k.token, err
	}
	k.token, k.renew = got.Token, now.Add(got.Valid*2/3)
	return k.token, nil
}

func (p *purse) slot(use api.FileUse) *kept {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := p.kept[use]
	if k == nil {
		if len(p.kept) >= maxPurse {
			clear(p.kept) // they are made anew when they are needed
		}
		k = &kept{}
		p.kept[use] = k
	}
	return k
}

// refused is what a refusal of a bearer means: that no other could be got, or that
// this one is worth nothing any more and the next try takes another.
func (p *purse) refused(method, addr string, err error) error {
	e := new(httpx.Error)
	if p.from == nil || !errors.As(err, &e) || e.Status != http.StatusUnauthorized {
		return err
	}
	k := p.slot(useOf(method, addr))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.renew = time.Time{}
	if k.failed != nil {
		return k.failed
	}
	return err
}
