package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/filecoin-project/go-address"
	"github.com/urfave/cli/v2"

	"quarry/api"
	"quarry/node"
	"quarry/node/config"
)

// flagPull of `init service`.
const flagPull = "pull"

// half is how a new markets node is joined to the private node.
type half struct {
	pull          bool            // the private node opens the link
	actor         address.Address // in pull mode
	sealer, index string          // otherwise: token:address
}

// otherHalf reads what `init service` is told of the private node.
func otherHalf(c *cli.Context) (h half, err error) {
	if h.sealer, h.index, err = peersGiven(c); err != nil {
		return half{}, err
	}
	if h.pull = c.Bool(flagPull); h.pull {
		switch h.actor, err = optionalAddress(c, "actor"); {
		case err != nil:
			return half{}, err
		case h.sealer != "" || h.index != "":
			return half{}, errors.New("--pull: the private node opens the link, so leave --api-sealer and --api-sector-index away; " +
				"the public host is to hold no token of it")
		case h.actor == address.Undef || h.actor.Protocol() != address.ID:
			return half{}, errors.New("--pull: the private node cannot be asked which miner it is; give --actor with its ID " +
				"address (f0...)")
		}
		return h, nil
	}
	if c.String("actor") != "" {
		return half{}, errors.New("--actor: the sealing node tells which miner it is; the flag is for --pull")
	}
	if h.sealer == "" {
		h.sealer, err = sealerInEnv()
	}
	if err != nil {
		return half{}, err
	}
	if h.sealer == "" {
		return half{}, errors.New("no sealing node is named: give --api-sealer " +
			"(`miner auth api-info --role markets-peer` on the private node prints it), or --pull where the private node is " +
			"to open the link")
	}
	if h.index == "" {
		h.index = h.sealer
	}
	return h, nil
}

// meet finds out for which miner the markets node is, and that there is one.
func (h half) meet(ctx context.Context, chain api.Chain, log *slog.Logger) (address.Address, error) {
	if !h.pull {
		return node.ServicePeers{Sealer: h.sealer, Index: h.index, Log: log}.Check(ctx, chain)
	}
	if _, err := chain.StateMinerInfo(ctx, h.actor, nil); err != nil {
		return address.Undef, fmt.Errorf("--actor %s: %w", h.actor, err)
	}
	return h.actor, nil
}

// linkInfo is what the private node is told: a new token for the link, and where
// this node's API is, as far as it knows.
func linkInfo(ctx context.Context, dir string, api config.API) (string, error) {
	token, err := node.LinkToken(ctx, dir)
	if err != nil {
		return "", fmt.Errorf("make the token of the link (once the node runs: miner --call-on-markets auth create-token "+
			"--role link): %w", err)
	}
	at := api.RemoteListenAddress
	if at == "" {
		at = api.ListenAddress
	}
	return token + ":" + at, nil
}

func printLink(w io.Writer, info string) {
	fmt.Fprintf(w, `the private node opens the link: put this into its config.toml,
with the address by which it reaches this API, and start it again

[Link]
  MarketsApiInfo = "%s"
`, info)
}
