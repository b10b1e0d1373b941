package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/filecoin-project/go-state-types/abi"

	"quarry/api"
	"quarry/build"
	"quarry/internal/apiinfo"
	"quarry/internal/printable"
	"quarry/markets"
	"quarry/node/pull"
	"quarry/node/repo"
	"quarry/node/serve"
	"quarry/storage/fetch"
)

// acceptLink lets the private node open the link to this markets node.
func (n *Node) acceptLink(context.Context) error {
	if !n.set.LinkAccept {
		return nil
	}
	n.accepts = pull.NewAcceptor(pull.AcceptorConfig{}, pull.AcceptorDeps{
		Identity: n.common.identity,
		Meet: func(in api.Introduction) error {
			return linked{n.common.identity(), "private", []api.Subsystem{api.SubsystemSealing,
				api.SubsystemSectorStorage}}.compare(in.Identity)
		},
		Log: n.log.With("part", "link"),
	})
	n.accepts.Handle(n.srv.Handle)
	n.common.link = n.accepts.Status
	return nil
}

// openLink opens the link of this private node to its markets node, which may do
// over it what the role markets-peer may, wherever else this node listens.
func (n *Node) openLink(ctx context.Context) error {
	if n.set.LinkInfo == "" {
		return nil
	}
	info, err := apiinfo.Load(n.set.LinkInfo)
	if err != nil {
		return fmt.Errorf("MarketsApiInfo of [Link]: %w", err)
	}
	served := n.servedOverLink(info)
	opener, err := pull.NewOpener(pull.OpenerConfig{
		Base:    info.Base(),
		Token:   info.Token,
		Perms:   peerPerms(),
		MaxCall: n.set.MaxRequestBytes,
	}, pull.OpenerDeps{
		Introduce: n.common.introduction,
		Meet: func(there api.Identity) error {
			return linked{n.common.identity(), "markets", []api.Subsystem{api.SubsystemMarkets}}.compare(there)
		},
		Answer: served.Answer,
		Log:    n.log.With("part", "link"),
	})
	if err != nil {
		return fmt.Errorf("MarketsApiInfo of [Link]: %w", err)
	}
	n.common.link = opener.Status
	return n.keep(ctx, "link to the markets node", opener.Run)
}

// servedOverLink is what the markets node finds at this end of the link: what every
// peer finds, and bytes that go to the host of the config only.
func (n *Node) servedOverLink(info apiinfo.Info) *serve.Detached {
	reader := fetch.NewReader(fetch.ReaderConfig{Holder: "markets, over the link"},
		fetch.ReaderDeps{Local: n.local, Index: n.storage, Log: n.log.With("part", "reader")})
	n.onClose("reader of the link", func() error { reader.Close(); return nil })
	open := func(ctx context.Context, s abi.SectorID, off, size abi.PaddedPieceSize) (pull.UnsealedReader, error) {
		return reader.OpenUnsealed(ctx, s, off, size)
	}
	pusher := pull.NewPusher(pull.PusherConfig{Base: info.Base(), Token: info.Token}, pull.PusherDeps{Reader: pull.RangeReaderFunc(open)})
	n.onClose("pusher of the link", func() error { pusher.Close(); return nil })
	return serve.NewDetached(serve.Config{MaxRequestBytes: n.set.MaxRequestBytes, Absent: n.absent()},
		serve.Deps{Log: n.log.With("part", "link")}, func(s *serve.Server) {
			s.RegisterCommon(n.common)
			s.RegisterStorage(n.stored)
			s.RegisterSealing(pull.StagedFrom(info.Base(), n.sealing))
			s.RegisterMining(&api.MiningLate{Get: n.proving.get})
			s.RegisterLink(pusher)
		})
}

// linked is what the process at the other end of the link must be.
type linked struct {
	me   api.Identity
	name string          // of the other end, in words
	runs []api.Subsystem // there
}

// compare says how got is not the other half of this process, nil where it is.
func (want linked) compare(got api.Identity) error {
	name, shown := "the "+want.name+" node", printable.Brief
	switch {
	case got.Instance == want.me.Instance:
		return errors.New("the link leads to this process itself; name the address of the markets node in MarketsApiInfo of " +
			"the private one")
	case got.Miner != want.me.Miner:
		return fmt.Errorf("the link joins the two halves of one miner: there is %q, here %s; name %s of %s",
			shown(got.Miner), want.me.Miner, name, want.me.Miner)
	case got.Network != want.me.Network:
		return fmt.Errorf("let both use full nodes of one network: there is %q, here %q", shown(got.Network), want.me.Network)
	case got.Genesis != want.me.Genesis: // what to do comes first: the other side shows the beginning
		return fmt.Errorf("let both use full nodes of one network: the genesis there is %s, here %s", shown(got.Genesis), want.me.Genesis)
	}
	for _, s := range want.runs {
		version, runs := got.APIVersions[s]
		switch {
		case !runs:
			return fmt.Errorf("there is no %s node: %s does not run there (it is a %s node)", want.name, s, shown(got.Kind))
		case version>>8 != build.MinerAPIVersion>>8:
			return fmt.Errorf("%s speaks API %s, this process %s; run the same release on both",
				name, versionWords(version), versionWords(build.MinerAPIVersion))
		}
	}
	return nil
}

// sharedOnly is an index that names no URLs: in pull mode nobody here could reach
// them, and nobody tries.
type sharedOnly struct{ fetch.Index }

// StorageFindSector implements fetch.Index.
func (sharedOnly) StorageFindSector(context.Context, abi.SectorID, api.FileType) ([]api.SectorLocationInfo, error) {
	return nil, nil
}

// pulledPieces reads from shared paths, and what is on none as the private node
// pushes it.
func pulledPieces(shared markets.PieceReaderFunc, pulled *pull.Reader) markets.PieceReaderFunc {
	return func(ctx context.Context, s abi.SectorID, off, size abi.PaddedPieceSize) (markets.UnsealedReader, error) {
		r, err := shared(ctx, s, off, size)
		var missing *api.ErrNotFound
		if err == nil || !errors.As(err, &missing) {
			return r, err
		}
		x, err := pulled.OpenUnsealed(ctx, s, off, size)
		if err != nil {
			return nil, err
		}
		return x, nil
	}
}

// LinkToken issues, in the repo of a markets node that is not running, the token
// with which its private node opens the link. It is good for nothing else.
func LinkToken(ctx context.Context, dir string) (token string, err error) {
	r, err := repo.OpenAs(dir, repo.KindMarkets)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return r.Tokens().Create(ctx, api.TokenRequest{Name: "the link of the private node", Role: api.RoleLink})
}
