package node

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/filecoin-project/go-address"

	"quarry/api"
	"quarry/api/client"
)

// ServicePeers are the addresses that a new markets node is given of the other
// half, as token:address.
type ServicePeers struct {
	Sealer string
	Index  string // of the process with the sector index
	Log    *slog.Logger
}

// Check asks both who they are and refuses, before anything is made, what the
// node would refuse when it starts. It returns the miner they belong to.
func (s ServicePeers) Check(ctx context.Context, chain api.Chain) (address.Address, error) {
	is, err := networkOf(ctx, chain)
	if err != nil {
		return address.Undef, fmt.Errorf("the full node: %w", err)
	}
	me := api.Introduction{Identity: api.Identity{Network: is.Network, Genesis: is.Genesis}}
	sealer, err := s.ask(ctx, s.Sealer, me, "sealing", api.SubsystemSealing)
	if err != nil {
		return address.Undef, fmt.Errorf("--api-sealer: %w", err)
	}
	me.Miner = sealer.Miner
	index, err := s.ask(ctx, s.Index, me, "sector storage", api.SubsystemSectorStorage)
	if err != nil {
		return address.Undef, fmt.Errorf("--api-sector-index: %w", err)
	}
	if index.Repo != sealer.Repo {
		return address.Undef, &api.ErrInvalid{What: "--api-sector-index", Reason: "it is another node of miner " + sealer.Miner +
			" than --api-sealer",
			Hint: "name one private node in both"}
	}
	return address.NewFromString(sealer.Miner)
}

func (s ServicePeers) ask(ctx context.Context, info string, me api.Introduction, name string, sub api.Subsystem) (api.Handshake, error) {
	p, err := client.Miner(ctx, client.Config{Info: info, Name: "the " + name + " node"})
	if err != nil {
		return api.Handshake{}, err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	got, warning, err := peerNeeds{me: me.Identity, name: name, sub: sub, perms: peerPerms()}.meet(ctx, p, me)
	if warning != "" && s.Log != nil {
		s.Log.Warn("the other half is right, but", "node", name, "warning", warning)
	}
	return got, err
}
