package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/libp2p/go-libp2p/core/peer"

	"quarry/api"
	"quarry/build"
	"quarry/internal/holder"
	"quarry/internal/printable"
	"quarry/node/repo"
	"quarry/node/serve"
)

// peerNeeds is what another process must be to be used as a half of this miner.
type peerNeeds struct {
	me    api.Identity
	name  string           // of the half, in words
	sub   api.Subsystem    // that must run there
	perms []api.Permission // that the token must carry
}

// wrongPeer says that a process answers and is not the one it should be. Nothing
// is sent to it.
type wrongPeer struct{ reason string }

func (e *wrongPeer) Error() string { return "refused: " + e.reason }

func wrongf(format string, args ...any) error {
	return &wrongPeer{reason: fmt.Sprintf(format, args...)}
}

// compare tells how got is not what is needed: *wrongPeer, or *api.ErrUnreachable
// where it cannot be told yet. warning is about what works but should not stay.
func (want peerNeeds) compare(got api.Handshake) (warning string, err error) {
	shown := func(s string) string { return printable.Brief(s) }
	version, runs := got.APIVersions[want.sub]
	switch {
	case got.Instance == want.me.Instance && want.me.Instance != uuid.Nil:
		return "", wrongf("the address of the %s node is this process itself; name the private node's (there: miner auth "+
			"api-info --role markets-peer)", want.name)
	case got.Miner == "":
		return "", wrongf("the address of the %s node is that of a %s, which belongs to no miner; name the private node's",
			want.name, shown(got.Kind))
	case got.Miner != want.me.Miner && want.me.Miner != "":
		return "", wrongf("it is the node of miner %s, this one is of %s; name the private node of %s in the config",
			shown(got.Miner), want.me.Miner, want.me.Miner)
	case !runs:
		return "", wrongf("%s does not run there (it is a %s node with %s); are the addresses of the two halves crossed?", want.sub,
			shown(got.Kind), subsystemWords(got))
	case version>>8 != build.MinerAPIVersion>>8:
		return "", wrongf("it speaks API %s for %s, this process %s; run the same release on both", versionWords(version), want.sub,
			versionWords(build.MinerAPIVersion))
	case got.Genesis == "":
		return "", &api.ErrUnreachable{Peer: "the " + want.name + " node",
			Reason: "it waits for its full node and cannot tell its network yet"}
	case got.Network != want.me.Network || got.Genesis != want.me.Genesis:
		return "", wrongf("it is on network %s (genesis %s), this process on %s (genesis %s); let both use full nodes of one network",
			shown(got.Network), shown(got.Genesis), want.me.Network, want.me.Genesis)
	}
	var lacks []string
	for _, p := range want.perms {
		if !slices.Contains(api.Implied(got.Allow), p) {
			lacks = append(lacks, string(p))
		}
	}
	if len(lacks) > 0 {
		return "", wrongf("the token does not allow %s; make one there with: miner auth api-info --role %s",
			strings.Join(lacks, ", "), api.RoleMarketsPeer)
	}
	if slices.Contains(got.Allow, api.PermAdmin) {
		return fmt.Sprintf("the token allows everything on the private node, and this host is public; replace it by one of "+
			"role %s and revoke it", api.RoleMarketsPeer), nil
	}
	return "", nil
}

func subsystemWords(h api.Handshake) string {
	if len(h.APIVersions) == 0 {
		return "no subsystem"
	}
	var out []string
	for s := range h.APIVersions {
		out = append(out, printable.Brief(string(s)))
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 8)], ", ")
}

func versionWords(v uint32) string { return fmt.Sprintf("%d.%d.%d", v>>16, v>>8&0xff, v&0xff) }

// handshaker is what is asked of a peer; *client.MinerAPI has it.
type handshaker interface {
	Handshake(ctx context.Context, me api.Introduction) (api.Handshake, error)
	Version(ctx context.Context) (api.VersionInfo, error)
}

// meet asks a process who it is and compares. Errors: *wrongPeer for what answers
// and is wrong, everything else for what cannot be told now.
func (want peerNeeds) meet(ctx context.Context, p handshaker, me api.Introduction) (got api.Handshake, warning string, err error) {
	got, err = p.Handshake(ctx, me)
	var absent *api.ErrNotServedHere
	var perm *api.ErrPermission
	var used *api.ErrInUse
	switch {
	case err == nil:
		warning, err = want.compare(got)
		return got, warning, err
	case tokenRefused(err), errors.As(err, &perm):
		return got, "", wrongf("%v (in the config of this node: token:address of the private node)", err)
	case errors.As(err, &used):
		return got, "", wrongf("%v", err)
	case errors.As(err, &absent):
		if v, verr := p.Version(ctx); verr == nil {
			return got, "", wrongf("it does not answer as a miner process (it says it is %s %s, API %s: a full node, or "+
				"another release?); name the private node's address",
				printable.Brief(v.Agent), printable.Brief(v.Version), versionWords(v.APIVersion))
		}
		return got, "", wrongf("it does not answer as a miner process of this release: %v", err)
	}
	return got, "", err
}

// newCallers is the register of those that introduce themselves; they do so at
// every poll.
func newCallers(poll time.Duration) *holder.Register {
	if poll <= 0 {
		poll = defaultPoll
	}
	return holder.NewRegister(holder.RegisterConfig{Silence: max(3*poll, minSilence)})
}

// identity is what this process says of itself.
func (c *common) identity() api.Identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self.Identity
}

// introduction is identity for those whom this process calls.
func (c *common) introduction() api.Introduction {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.self
}

// learn changes what this process knows of itself.
func (c *common) learn(change func(*api.Introduction)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.self)
}

// introduce fills what is known once the repo is open.
func (n *Node) introduce() {
	versions := map[api.Subsystem]uint32{}
	for _, s := range n.subsystems() {
		versions[s] = build.MinerAPIVersion
	}
	libp2p := ""
	if n.set.Markets {
		if priv, err := Libp2pKey(n.repo.Keystore()); err == nil { // the markets say what is wrong with it
			if pid, err := peer.IDFromPrivateKey(priv); err == nil {
				libp2p = pid.String()
			}
		}
	}
	who := holder.Self("")
	n.common.learn(func(in *api.Introduction) {
		in.Identity = api.Identity{
			Miner:       n.maddr.String(),
			Network:     n.pin.Network,
			Genesis:     n.pin.Genesis,
			Kind:        string(n.repo.Kind()),
			Repo:        n.repo.ID(),
			Instance:    n.common.session,
			Libp2p:      libp2p,
			APIVersions: versions,
		}
		in.Host, in.PID, in.Place = who.Host, who.PID, holder.Place(n.repo.Dir())
		in.Started = n.common.started
	})
}

// Handshake tells a peer who this process is. A markets node of this miner is
// remembered: a second one under the same identity, a copy of its repo or of its
// libp2p key, is refused while the first lives, and told who that is.
func (c *common) Handshake(ctx context.Context, in api.Introduction) (api.Handshake, error) {
	me, perms := c.identity(), serve.Permissions(ctx)
	out := api.Handshake{Identity: me, Allow: perms}
	mayHandOver := slices.Contains(perms, api.PermSealingPeer)
	_, seals := me.APIVersions[api.SubsystemSealing]
	if in.Instance == uuid.Nil || in.Instance == me.Instance || in.Kind != string(repo.KindMarkets) ||
		in.Miner != me.Miner || in.Genesis != me.Genesis || !mayHandOver || !seals {
		return out, nil // it finds out by itself, or only asks
	}
	who := holder.Claimant{Holder: holder.Holder{PID: in.PID, Host: in.Host, Since: in.Started}, Instance: in.Instance, Place: in.Place}
	identities := map[string]string{"repo " + in.Repo.String(): "the repo of this markets node"}
	if in.Libp2p != "" && len(in.Libp2p) <= 200 {
		identities["libp2p "+in.Libp2p] = "the libp2p identity of this markets node"
	}
	for id, what := range identities {
		var held *holder.ErrHeld
		if err := c.callers.Claim(id, who); errors.As(err, &held) {
			return api.Handshake{}, &api.ErrInUse{What: what, Holder: held.Holder,
				Hint: fmt.Sprintf("one of the two is a copy: stop one; it is forgotten when it was silent for %s", c.callers.Silence())}
		} else if err != nil {
			return api.Handshake{}, err
		}
	}
	c.heard.from(in.Instance)
	return out, nil
}
