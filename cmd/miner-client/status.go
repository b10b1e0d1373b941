package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/filecoin-project/go-address"
	"github.com/google/uuid"
	"github.com/urfave/cli/v2"

	"quarry/markets/wire"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "how a deal stands",
		ArgsUsage: "<deal uuid>",
		Flags: []cli.Flag{jsonFlag, providerFlag,
			&cli.StringFlag{Name: "from", Usage: "address that made the deal (default: whichever key of the wallet did)"}},
		Action: func(c *cli.Context) error {
			arg, err := oneArg(c, "the deal's UUID")
			if err != nil {
				return err
			}
			id, err := uuid.Parse(arg)
			if err != nil {
				return fmt.Errorf("deal UUID %q: %w", arg, err)
			}
			provider, err := needed(c, "provider")
			if err != nil {
				return err
			}
			d, p, err := reach(c, provider)
			if err != nil {
				return err
			}
			defer d.Close()
			keys, err := d.signers(c)
			if err != nil {
				return err
			}
			st, err := firstAccepted(keys, func(key address.Address) (*wire.DealStatusResponse,
				error) {
				return d.Status(c.Context, p, key, id)
			})
			if err != nil {
				return fmt.Errorf("status of deal %s: %w", id, err)
			}
			return show(c, st, func(w io.Writer) { printStatus(w, st) })
		},
	}
}

// signers are the keys that may have made a deal, the likeliest first: a
// provider answers nobody but the deal's own client, and only the wallet
// remembers its keys.
func (d *dialer) signers(c *cli.Context) ([]address.Address, error) {
	if s := c.String("from"); s != "" {
		a, err := parseAddress(s)
		if err != nil {
			return nil, err
		}
		return []address.Address{a}, d.hasKey(c.Context, a)
	}
	keys, err := d.node.WalletList(c.Context)
	if err != nil {
		return nil, fmt.Errorf("list the keys of the full node's wallet: %w", err)
	}
	if len(keys) == 0 {
		return nil, errors.New("the full node's wallet has no keys; import the one that made the deal with `miner-client wallet import`")
	}
	if def, err := d.node.WalletDefaultAddress(c.Context); err == nil {
		if i := slices.Index(keys, def); i > 0 {
			keys[0], keys[i] = keys[i], keys[0]
		}
	}
	return keys, nil
}

// hasKey refuses an address whose key the wallet lacks, by its key or its ID.
func (d *dialer) hasKey(ctx context.Context, a address.Address) error {
	key := a
	if a.Protocol() == address.ID {
		var err error
		if key, err = d.node.StateAccountKey(ctx, a, nil); err != nil {
			return fmt.Errorf("look up the key of %s: %w", a, err)
		}
	}
	ok, err := d.node.WalletHas(ctx, key)
	if err != nil {
		return fmt.Errorf("ask the full node's wallet for the key of %s: %w", a, err)
	}
	if !ok {
		return fmt.Errorf("the full node's wallet has no key of %s; import it with `miner-client wallet import`", a)
	}
	return nil
}

// notYours is what providers answer to a key that did not make the deal.
const notYours = "signature verification failed"

// firstAccepted asks with one key after another until the provider takes one.
func firstAccepted(keys []address.Address, ask func(address.Address) (*wire.DealStatusResponse, error)) (*wire.DealStatusResponse, error) {
	for _, k := range keys {
		st, err := ask(k)
		if err == nil {
			return st, nil
		}
		if !strings.Contains(err.Error(), notYours) {
			return nil, err
		}
	}
	if len(keys) == 1 {
		return nil, fmt.Errorf("it was not made by %s; the key that paid for it must be in the full node's wallet "+
			"(`miner-client wallet import`)", keys[0])
	}
	return nil, fmt.Errorf("none of the %d keys in the full node's wallet made it; import the one that paid for it with "+
		"`miner-client wallet import`", len(keys))
}

func printStatus(w io.Writer, st *wire.DealStatusResponse) {
	s := st.DealStatus
	fmt.Fprintf(w, "deal:        %s\nstatus:      %s\ntransferred: %d of %d bytes\n", st.DealUUID, s.Status, st.NBytesReceived,
		st.TransferSize)
	if s.PublishCid != nil {
		fmt.Fprintf(w, "published:   %s\n", s.PublishCid)
	}
	if s.ChainDealID != 0 {
		fmt.Fprintf(w, "chain deal:  %d\n", s.ChainDealID)
	}
	if s.SealingStatus != "" {
		fmt.Fprintf(w, "sealing:     %s\n", s.SealingStatus)
	}
	if s.Error != "" {
		fmt.Fprintf(w, "error:       %s\n", s.Error)
	}
}
