package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/api/client"
)

// target is where things are. Judge carries an admin token of the private node: it
// looks whether anything has changed, and never attacks.
type target struct {
	Private     string // http://host:port of the private node's API
	Worker      string // the same of a worker
	WorkerPath  api.StorageID
	Sector      abi.SectorID // that the worker or the private node has files of
	MarketsRepo string
	Judge       *client.MinerAPI
	Patience    time.Duration // how long an honest caller may wait while others misbehave
}

// attack is what the owner of the markets host has.
type attack struct {
	target
	token string   // shown to the private node by the markets node
	loot  []string // everything in the repo that looks like a token
	trap  *trap
	http  *http.Client
}

// try is one thing that should not be possible. run gives what was got, nil when
// that is nothing.
type try struct {
	name string
	run  func(ctx context.Context) error
}

// newAttack reads the markets node's repo, as its owner can.
func newAttack(t target) (*attack, error) {
	a := &attack{target: t, http: newClient()}
	if err := a.plunder(); err != nil {
		return nil, err
	}
	var err error
	a.trap, err = newTrap()
	return a, err
}

// newClient makes a client that goes where it is told and no further.
func newClient() *http.Client {
	return &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (a *attack) close() {
	a.trap.close()
	a.http.CloseIdleConnections()
}

var (
	tokenShape = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)
	sealerLine = regexp.MustCompile(`(?m)^\s*SealerApiInfo\s*=\s*["'](eyJ[A-Za-z0-9_.-]+):`)
)

// plunder collects the tokens in all files of the repo.
func (a *attack) plunder() error {
	err := filepath.WalkDir(a.MarketsRepo, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, token := range tokenShape.FindAllString(string(b), -1) {
			if !slices.Contains(a.loot, token) {
				a.loot = append(a.loot, token)
			}
		}
		if found := sealerLine.FindSubmatch(b); found != nil {
			a.token = string(found[1])
		}
		return nil
	})
	if err == nil && a.token == "" {
		err = fmt.Errorf("no token of the private node in %s", a.MarketsRepo)
	}
	return err
}

// answer of a server.
type answer struct {
	status int
	body   []byte
}

func (r answer) in() bool {
	return r.status != http.StatusUnauthorized && r.status != http.StatusForbidden
}

func (a *attack) ask(ctx context.Context, method, url, token string, body []byte) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := a.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return answer{res.StatusCode, b}, err
}

// reply of JSON-RPC.
type reply struct {
	Result json.RawMessage
	Error  *struct {
		Code    int
		Message string
	}
}

// Codes of refusals: api.ErrPermission, and a method that is not there.
const (
	codePermission = 111
	codeNoMethod   = -32601
)

// call makes one call; a refusal of the token itself gives code -401.
func (a *attack) call(ctx context.Context, base, token, method string, params ...any) (reply, error) {
	if params == nil {
		params = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": "Filecoin." + method, "params": params})
	if err != nil {
		return reply{}, err
	}
	res, err := a.ask(ctx, http.MethodPost, base+"/rpc/v1", token, body)
	if err != nil {
		return reply{}, err
	}
	var out reply
	if !res.in() {
		out.Error = &struct {
			Code    int
			Message string
		}{Code: -res.status, Message: strings.TrimSpace(string(res.body))}
		return out, nil
	}
	if err := json.Unmarshal(res.body, &out); err != nil {
		return out, fmt.Errorf("%s answers %d %.80q", method, res.status, res.body)
	}
	return out, nil
}

// refused requires that a call with the peer's token is refused, for whatever
// reason.
func (a *attack) refused(ctx context.Context, method string, params ...any) error {
	r, err := a.call(ctx, a.Private, a.token, method, params...)
	if err != nil {
		return err
	}
	if r.Error == nil {
		return fmt.Errorf("%s gave %.200s", method, r.Result)
	}
	return nil
}
